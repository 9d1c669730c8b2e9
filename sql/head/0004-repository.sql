-- The cache repository: images that are made in idle time, what each request's nodes stand on, and under which conditions a stage ran.

alter table layers drop constraint layers_kind_check;
alter table layers add constraint layers_kind_check check (kind in ('base', 'cache', 'delta', 'debs'));
alter table layers add column verified timestamptz not null default now();   -- when every byte was last read and right
alter table layers add column stale boolean not null default false;          -- a base with newer versions in the lists

-- cache: made in idle time; delta: made for a request; debs: packages that nodes install by themselves, no image to begin with
alter table images add column number integer generated always as identity;
alter table images add column kind text not null default 'delta' check (kind in ('cache', 'delta', 'debs'));
alter table images add column base text not null default '';                 -- digest of its lowest layer
alter table images add column asked text[] not null default '{}';            -- packages marked as installed by hand
alter table images add column stale boolean not null default false;          -- newer versions are in the lists
alter table images add column pinned boolean not null default false;         -- an administrator wanted it: it goes last
update images set base = layers[1];

-- The layers that a part's nodes were started from: none of them is removed while the part lives.
alter table requests add column layers text[] not null default '{}';

-- installed: packages above the base before an installation. concurrency: builds and launches on the head at once, this one too; of an
-- installation in nodes: nodes for each processor. speed: of
-- one processor of the head just then, 1 = the reference. shared: built for another request, which has the row to learn from.
-- place: where an installation ran.
alter table timings add column installed integer not null default 0;
alter table timings add column concurrency real not null default 1;
alter table timings add column speed real;
alter table timings add column shared boolean not null default false;
alter table timings add column place text not null default 'head' check (place in ('head', 'nodes'));
