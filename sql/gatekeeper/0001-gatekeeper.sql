-- The gatekeeper's memory: sites, clusters, who holds which overlay address, what happened.
-- Keys are not here but in 0600 files beside (store/secrets.ts, delegations.ts).

create table sites (
  name       text primary key,
  url        text not null,
  subject    text not null,                -- DN that the head's certificate must have
  state      text not null default 'open' check (state in ('open', 'draining', 'closed')),
  registered timestamptz not null default now()
);

create table clusters (
  id              text primary key,
  owner           text not null,           -- DN of the end-entity certificate
  idempotency_key text not null,
  request_hash    text not null,
  request         jsonb not null,          -- ClusterRequest, checked
  state           text not null default 'accepted'
                  check (state in ('accepted', 'building', 'launching', 'joining', 'ready', 'destroying', 'destroyed', 'failed')),
  reason          text,
  warnings        text[] not null default '{}',
  created         timestamptz not null default now(),
  ready_at        timestamptz,
  expires         timestamptz not null,
  until           timestamptz not null,    -- end of the proxy or delegation: certificates end no later
  last_event      integer not null default 0,
  undone          timestamptz,             -- everything it held was given back
  unique (owner, idempotency_key)
);
create index clusters_of_owner on clusters (owner, created);
create index clusters_living on clusters (expires) where undone is null;

-- UDP port and address block of a cluster; a row stays as history, `released` frees both.
create table allocations (
  cluster  text primary key references clusters,
  block    integer not null,
  port     integer not null,
  taken    timestamptz not null default now(),
  released timestamptz
);
create unique index allocations_block on allocations (block) where released is null;
create unique index allocations_port on allocations (port) where released is null;

create table parts (
  cluster   text not null references clusters,
  site      text not null,
  nodes     integer not null,
  position  integer not null,              -- order of the sites; nodes are numbered in this order
  state     text not null default 'placed' check (state in ('placed', 'created', 'destroyed')),
  plan      jsonb,                         -- SitePlan
  relayed   integer not null default 0,    -- last event of the head that is in events
  primary key (cluster, site)
);
create index parts_living on parts (site) where state <> 'destroyed';

create table nodes (
  cluster   text not null references clusters,
  number    integer not null,
  name      text not null,
  site      text not null,
  host      text not null default '',
  address   inet not null,                 -- in the overlay
  state     text not null default 'planned' check (state in ('planned', 'running', 'joined', 'ready', 'failed', 'gone')),
  reason    text,
  joined_at timestamptz,
  ready_at  timestamptz,
  primary key (cluster, number)
);

create table stages (
  cluster   text not null references clusters,
  site      text not null,
  stage     text not null,
  position  integer not null,              -- order of the stages
  predicted double precision,
  started   timestamptz,
  seconds   double precision,              -- null while it runs
  primary key (cluster, site, stage)
);

create table events (
  cluster  text not null references clusters,
  sequence integer not null,
  at       timestamptz not null,
  site     text not null,
  node     text not null,
  kind     text not null check (kind in ('state', 'stage-started', 'stage-done', 'node', 'warning', 'error')),
  text     text not null,
  primary key (cluster, sequence)
);

-- Every certificate of the overlay CA. address is null for a hub.
create table certificates (
  serial    text primary key,              -- hex
  cluster   text not null references clusters,
  name      text not null,                 -- n1, u1, hub
  kind      text not null check (kind in ('hub', 'node', 'profile')),
  subject   text not null,                 -- whose: the owner's DN, or that of the grid admin who asked for a profile
  address   inet,
  issued    timestamptz not null default now(),
  not_after timestamptz not null,
  revoked   timestamptz
);
create index certificates_of_cluster on certificates (cluster);
create index certificates_by_address on certificates (address, issued);

create table delegations (
  id        text primary key,
  owner     text not null,
  created   timestamptz not null default now(),
  not_after timestamptz                    -- null until the chain was put
);
create index delegations_of_owner on delegations (owner);
