-- A head's memory: what was asked of it, where it runs, how long each stage took.
-- Node keys and certificates are not here but in 0600 files beside (store/secrets.ts).

create table hosts (
  name     text primary key,
  kind     text not null,
  state    text not null default 'open' check (state in ('open', 'draining', 'closed')),
  memory   integer not null,               -- MiB for nodes
  disk     integer not null,               -- MiB for nodes
  vcpus    integer not null,
  problems text[] not null default '{}',
  checked  timestamptz not null default now()
);

create table layers (
  digest   text primary key,
  kind     text not null check (kind in ('base', 'cache', 'delta')),
  os       text not null,
  bytes    bigint not null,
  built    timestamptz not null default now()
);

-- An image answers for one exact closure (resolution key) on one base.
create table images (
  key       text primary key,
  os        text not null,
  layers    text[] not null,               -- digests, lowest first
  packages  jsonb not null,                -- [{name, version, architecture, debBytes}]
  built     timestamptz not null default now(),
  last_used timestamptz not null default now(),
  uses      integer not null default 1
);

create table requests (
  cluster  text primary key,
  owner    text not null,
  state    text not null,
  reason   text,
  asked    jsonb not null,                 -- {memory, disk, vcpus, os, packages, bundles, minCount, nodes}
  plan     jsonb,                          -- SitePlan, written before the work
  image    text,                           -- resolution key
  created  timestamptz not null default now(),
  expires  timestamptz not null,
  finished timestamptz
);
create index requests_unfinished on requests (expires) where state not in ('destroyed', 'failed');

create table nodes (
  cluster text not null references requests,
  name    text not null,
  host    text not null references hosts,
  address inet not null,                   -- private address at the site
  memory  integer not null,
  disk    integer not null,
  vcpus   integer not null,
  state   text not null default 'planned' check (state in ('planned', 'running', 'failed', 'gone')),
  reason  text,
  primary key (cluster, name)
);
create unique index nodes_address_in_use on nodes (address) where state <> 'gone';
create index nodes_on_host on nodes (host) where state <> 'gone';

create table events (
  cluster  text not null references requests,
  sequence integer not null,
  at       timestamptz not null default clock_timestamp(),
  node     text not null default '',
  kind     text not null,
  text     text not null,
  primary key (cluster, sequence)
);

create table timings (
  id        bigint generated always as identity primary key,
  cluster   text not null,
  node      text not null default '',
  stage     text not null,
  bytes     bigint not null,
  items     integer not null,
  started   timestamptz not null,
  seconds   double precision not null,
  predicted double precision
);
create index timings_by_stage on timings (stage, id desc);
create index timings_by_cluster on timings (cluster);

create table package_timings (
  id      bigint generated always as identity primary key,
  cluster text not null,
  package text not null,
  version text not null,
  phase   text not null check (phase in ('unpack', 'configure', 'trigger')),
  seconds double precision not null,
  bytes   bigint not null,
  files   integer not null
);
create index package_timings_by_package on package_timings (package, version);
