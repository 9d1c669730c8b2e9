-- Jobs that came by GRAM. What is secret of one (its delegated proxy) is in a 0600 file beside, its kept output in files.
create table jobs (
  id              text primary key,                 -- first part of the contact's path
  secret          text not null,                    -- the second: a contact is no guess
  owner           text not null,                    -- DN of the end-entity certificate
  caller          jsonb not null,                   -- Caller, as at the submission
  service         text not null,
  rsl             text not null,                    -- as it came
  request         jsonb not null,                   -- JobRequest
  state           integer not null,                 -- GRAM's number
  failure_code    integer not null default 0,
  exit_code       integer,
  reason          text,
  cluster         text references clusters,
  -- where the story is (gatekeeper/gram/job-story.ts)
  phase           text not null check (phase in ('arriving', 'uncommitted', 'waiting', 'staging', 'running', 'delivering', 'ending', 'ended')),
  commit_by       timestamptz,
  committed_end   boolean not null default false,
  created         timestamptz not null default now(),
  queued          timestamptz,                      -- the cluster was asked for
  started         timestamptz,                      -- the program runs, or the cluster is held
  finished        timestamptz,
  kept_until      timestamptz                       -- null: nothing is kept on the gatekeeper
);
create index jobs_of_owner on jobs (owner, created);
create index jobs_living on jobs (created) where phase <> 'ended';
create index jobs_of_cluster on jobs (cluster);

-- Who is told of its states.
create table job_callbacks (
  job  text not null references jobs,
  url  text not null,
  mask integer not null,
  sent integer not null default 0,                  -- the state that was delivered last
  primary key (job, url)
);

-- The runners of a job: one on each node where it has processes.
create table job_runners (
  job        text not null references jobs,
  node       text not null,
  position   integer not null,
  processes  integer not null,
  out_sent   bigint not null default 0,             -- bytes of its standard output that arrived where they should
  err_sent   bigint not null default 0,
  exit_code  integer,
  primary key (job, node)
);

-- The audit table of the original (Grid Community Toolkit, gram/jobmanager/audit), column by column, over our tables.
create view gram_audit_table as
select
  '/' || j.id || '/'                               as job_grid_id,      -- path of the contact, without its secret
  j.cluster                                        as local_job_id,
  j.owner                                          as subject_name,
  j.caller->>'account'                             as username,
  case when j.request ? 'twoPhase' then j.id end   as idempotence_id,
  to_char(j.created at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as creation_time,
  to_char(j.queued at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')  as queued_time,
  null::text                                       as stage_in_grid_id,  -- of GRAM4's separate transfers; the original's GRAM5 leaves them empty, too
  null::text                                       as stage_out_grid_id,
  null::text                                       as clean_up_grid_id,
  '6.2'::text                                      as globus_toolkit_version,
  'gridvc'::text                                   as resource_manager_type,
  j.rsl                                            as job_description,
  case when j.state = 8 then 'true' else 'false' end                   as success_flag,
  case when j.state in (4, 8) then 'true' else 'false' end             as finished_flag,
  nullif(j.caller->>'vo', '')                      as gateway_user
from jobs j;
