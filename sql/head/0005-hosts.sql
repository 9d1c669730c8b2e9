-- Hosts that an administrator registered (config-file hosts have no settings here); kernels as layers; nodes that were replaced.

alter table layers drop constraint layers_kind_check;
alter table layers add constraint layers_kind_check check (kind in ('base', 'cache', 'delta', 'debs', 'kernel'));

alter table hosts add column settings jsonb;                   -- as in the configuration file; null for a host of the file
alter table hosts add column about text not null default '';   -- versions, as found by the last check

-- What a part's nodes are made of, lowest first: [{digest, kind, bytes}]
alter table requests add column node_image jsonb;
alter table nodes add column replaced integer not null default 0;
