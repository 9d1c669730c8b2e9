-- Every statement of the gatekeeper, by name (src/store/queries.ts reads this file).

-- :putSite
insert into sites (name, url, subject) values ($1, $2, $3)
on conflict (name) do update set url = excluded.url, subject = excluded.subject

-- :sites
select name, url, subject, state from sites order by name

-- :setSiteState
update sites set state = $2 where name = $1 returning name

-- :livingParts
select cluster from parts where site = $1 and state <> 'destroyed' order by cluster

-- :removeSite
delete from sites where name = $1 and not exists (select from parts where site = $1 and state <> 'destroyed') returning name

-- :insertCluster
-- with its first event; nothing if this owner used the key before
with made as (
  insert into clusters (id, owner, idempotency_key, request_hash, request, warnings, expires, until, created, vo, asked, last_event)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1)
  on conflict (owner, idempotency_key) do nothing
  returning id
)
insert into events (cluster, sequence, at, site, node, kind, text) select id, 1, now(), '', '', 'state', 'accepted' from made returning cluster as id

-- :clusterByKey
select id, request_hash as "requestHash" from clusters where owner = $1 and idempotency_key = $2

-- :cluster
select id, owner, request, state, reason, created, expires, until from clusters where id = $1

-- :clusterView
-- $2: the owner who may see it, or null for an administrator
select id, owner, state, reason, warnings, created, "readyAt", expires, count, nodes, stages, predicted from cluster_views where id = $1 and ($2::text is null or owner = $2)

-- :clusterViews
-- those that live, and those that ended in the last week. $1: one owner, or null for all
select id, owner, state, reason, warnings, created, "readyAt", expires, count, nodes, stages, predicted from cluster_views
where ($1::text is null or owner = $1) and (undone is null or undone > now() - interval '7 days')
order by created, id

-- :ownedCluster
select id, owner, state, expires, until, last_event as "lastEvent" from clusters where id = $1

-- :unfinishedClusters
select id, state from clusters where undone is null order by created

-- :expiredClusters
select id from clusters where undone is null and state not in ('destroying', 'failed') and expires <= now()

-- :stateForUpdate
select state from clusters where id = $1 for update

-- :setState
update clusters set state = $2, reason = coalesce($3, reason), ready_at = case when $2 = 'ready' then now() else ready_at end where id = $1

-- :setUndone
update clusters set undone = now() where id = $1

-- :setLease
-- warnings about the lease before (cluster/lease.ts) are over
update clusters set expires = $2, until = $3, asked = $4, warnings = array(select w from unnest(warnings) w where w not like 'your % ends before the lease%') where id = $1

-- :lengthenLeases
-- ready clusters whose lease was cut to a credential's end, and whose owner has delegated a longer one since
with newer as (select owner, max(not_after) as until from delegations where not_after is not null group by owner)
update clusters c set until = n.until, expires = least(c.asked, n.until), warnings = array(select w from unnest(c.warnings) w where w not like 'your % ends before the lease%')
from newer n
where c.owner = n.owner and c.undone is null and c.state = 'ready' and c.expires < c.asked and c.until < n.until
returning c.id, c.expires

-- :addWarning
update clusters set warnings = warnings || $2::text where id = $1 and not $2 = any (warnings)

-- :appendEvents
-- $2: JSON array of {at, site, node, kind, text}, in order. The row lock of the cluster numbers them one after the other.
with counter as (
  update clusters set last_event = last_event + json_array_length($2::json) where id = $1 returning last_event
)
insert into events (cluster, sequence, at, site, node, kind, text)
select $1, c.last_event - json_array_length($2::json) + e.position::int, (e.value->>'at')::timestamptz, e.value->>'site', e.value->>'node', e.value->>'kind', e.value->>'text'
from counter c, json_array_elements($2::json) with ordinality as e (value, position)

-- :relayedTo
-- true for the one who moves the mark: an event of a head is taken over once
update parts set relayed = $3 where cluster = $1 and site = $2 and relayed < $3 returning relayed

-- :eventsAfter
select sequence, at, site, node, kind, text from events where cluster = $1 and sequence > $2 order by sequence limit 1000

-- :lockAllocations
select pg_advisory_xact_lock(7205759403)

-- :allocation
select block, port from allocations where cluster = $1 and released is null

-- :allocate
-- the block and the port that were free the longest; $4: ports found taken by others
insert into allocations (cluster, block, port)
select $1, b.block, p.port
from (select g as block from generate_series(0, $2::int - 1) g
      left join (select block, max(coalesce(released, 'infinity')) as used from allocations group by block) a on a.block = g
      where a.used is null or a.used < 'infinity' order by a.used nulls first, g limit 1) b,
     (select g as port from generate_series($3::int, $4::int) g
      left join (select port, max(coalesce(released, 'infinity')) as used from allocations group by port) a on a.port = g
      where (a.used is null or a.used < 'infinity') and not g = any ($5::int[]) order by a.used nulls first, g limit 1) p
on conflict (cluster) do update set block = excluded.block, port = excluded.port, taken = now(), released = null
returning block, port

-- :release
update allocations set released = now() where cluster = $1 and released is null

-- :insertPart
insert into parts (cluster, site, nodes, position) values ($1, $2, $3, $4)

-- :parts
select site, nodes, state, relayed, plan from parts where cluster = $1 order by position

-- :setPartState
update parts set state = $3 where cluster = $1 and site = $2

-- :setPartPlan
update parts set plan = $3 where cluster = $1 and site = $2

-- :insertNodes
insert into nodes (cluster, number, name, site, address)
select $1, n.number, n.name, n.site, n.address::inet from unnest($2::int[], $3::text[], $4::text[], $5::text[]) as n (number, name, site, address)
on conflict (cluster, number) do nothing

-- :nodes
select number, name, site, host, host(address) as address, state from nodes where cluster = $1 order by number

-- :node
select name, host(address) as address, state from nodes where cluster = $1 and name = $2

-- :setNode
-- states go forward only: planned, running, joined, ready; failed and gone from any
update nodes set state = $3, reason = $4, host = coalesce($5, host),
  joined_at = case when $3 = 'joined' then now() else joined_at end, ready_at = case when $3 = 'ready' then now() else ready_at end
where cluster = $1 and name = $2 and (array_position(array['planned', 'running', 'joined', 'ready', 'failed', 'gone'], state) < array_position(array['planned', 'running', 'joined', 'ready', 'failed', 'gone'], $3::text))
returning name

-- :nodeAgain
-- the one way back: a head made a node of a ready cluster again
update nodes set state = 'running', reason = null where cluster = $1 and name = $2 and state = 'failed' returning name

-- :setHosts
update nodes n set host = h.host from unnest($2::text[], $3::text[]) as h (name, host) where n.cluster = $1 and n.name = h.name and n.host <> h.host

-- :nodesGone
update nodes set state = 'gone' where cluster = $1

-- :planStages
insert into stages (cluster, site, stage, position, predicted)
select $1, $2, s.stage, s.position, s.predicted from unnest($3::text[], $4::int[], $5::float8[]) as s (stage, position, predicted)
on conflict (cluster, site, stage) do update set predicted = excluded.predicted

-- :startStage
insert into stages (cluster, site, stage, position, started) values ($1, $2, $3, $4, $5)
on conflict (cluster, site, stage) do update set started = coalesce(stages.started, excluded.started)

-- :endStage
insert into stages (cluster, site, stage, position, seconds) values ($1, $2, $3, $4, $5)
on conflict (cluster, site, stage) do update set seconds = excluded.seconds

-- :insertCertificates
insert into certificates (serial, cluster, name, kind, subject, address, not_after)
select c.serial, $1, c.name, $2, $3, c.address::inet, $4 from unnest($5::text[], $6::text[], $7::text[]) as c (serial, name, address)

-- :certificates
select serial, name, kind, host(address) as address, revoked is not null as revoked from certificates where cluster = $1

-- :nextProfile
-- the lowest free number of a profile; its certificate row is written in the same transaction, under the cluster's row lock
select min(g)::int as number from generate_series(1, $2::int) g
where not exists (select from certificates where cluster = $1 and kind = 'profile' and name = 'u' || g and revoked is null and not_after > now())

-- :revokeCertificates
update certificates set revoked = now() where cluster = $1 and revoked is null

-- :whoUsedAddress
-- Who used overlay address $1 at time $2: one row, or none (docs/operations.md).
select c.address::text, cl.owner, c.subject, c.cluster, c.name, c.kind, c.serial, n.site, n.host, c.issued, coalesce(c.revoked, c.not_after) as until
from certificates c join clusters cl on cl.id = c.cluster left join nodes n on n.cluster = c.cluster and n.name = c.name
where c.address = $1::inet and c.issued <= $2 and coalesce(c.revoked, c.not_after) > $2
order by c.issued desc limit 1 -- a renewed certificate overlaps its forerunner: same node, same owner

-- :insertDelegation
insert into delegations (id, owner) values ($1, $2)

-- :delegation
select owner, not_after as "notAfter" from delegations where id = $1

-- :putDelegation
update delegations set not_after = $3, put = now() where id = $1 and owner = $2 returning id

-- :oldDelegations
delete from delegations where owner = $1 and id <> $2 and (not_after is not null or created < now() - interval '1 hour') returning id

-- :uselessDelegations
-- Requests that nobody answered within an hour, proxies that ended, and those whose last cluster ended since they came.
delete from delegations d where (d.not_after is null and d.created < now() - interval '1 hour') or d.not_after <= now()
  or (d.not_after is not null and exists (select from clusters c where c.owner = d.owner and c.undone >= d.put)
      and not exists (select from clusters c where c.owner = d.owner and c.undone is null))
returning id

-- :delegations
select id from delegations

-- :delegatedUntil
select max(not_after) as "notAfter" from delegations where owner = $1

-- :lockQuotas
select pg_advisory_xact_lock(7205759404)

-- :usage
-- what an owner holds now, for quotas
select count(*)::int as clusters, coalesce(sum((request->>'count')::int), 0)::int as nodes,
  coalesce(sum((request->>'count')::float8 * (request->>'memory')::float8), 0)::float8 as memory
from clusters where owner = $1 and undone is null

-- :usageOfVo
select count(*)::int as clusters, coalesce(sum((request->>'count')::int), 0)::int as nodes,
  coalesce(sum((request->>'count')::float8 * (request->>'memory')::float8), 0)::float8 as memory
from clusters where vo = $1 and undone is null

-- :insertJob
-- $12, $13: who is told, or null
with made as (
  insert into jobs (id, secret, owner, caller, service, rsl, request, state, cluster, phase, commit_by, queued)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, case when $9::text is null then null else now() end)
  returning id
)
insert into job_callbacks (job, url, mask) select id, $12, $13 from made where $12::text is not null

-- :insertCallback
insert into job_callbacks (job, url, mask) values ($1, $2, $3) on conflict (job, url) do update set mask = excluded.mask

-- :job
select id, secret, owner, caller, request, state, failure_code as "failureCode", exit_code as "exitCode", reason, cluster, phase, commit_by as "commitBy", started, finished, kept_until as "keptUntil"
from jobs where id = $1

-- :livingJobs
select id from jobs where phase <> 'ended' order by created

-- :jobUsage
select count(*)::int as jobs from jobs where owner = $1 and phase <> 'ended'

-- :setJobPhase
-- $3: the GRAM state that goes with it, or null; the times follow from the phases
update jobs set phase = $2, state = coalesce($3, state), started = case when $2 = 'running' then coalesce(started, now()) else started end
where id = $1 and phase <> 'ended' and state not in (4, 8) returning id

-- :setJobCluster
update jobs set cluster = $2, queued = now(), phase = 'waiting', state = 1 where id = $1 and phase in ('arriving', 'uncommitted') and state not in (4, 8) returning id

-- :finishJob
-- the first end counts; true for the one who made it
update jobs set state = $2, failure_code = $3, exit_code = $4, reason = $5, phase = 'ending', finished = now(), commit_by = null
where id = $1 and state not in (4, 8) returning id

-- :endJob
update jobs set phase = 'ended', kept_until = $2 where id = $1

-- :extendCommit
update jobs set commit_by = commit_by + make_interval(secs => $2) where id = $1 and phase = 'uncommitted'

-- :commitJobEnd
update jobs set committed_end = true where id = $1

-- :updateJobRequest
update jobs set request = $2 where id = $1

-- :callbacks
select url, mask, sent from job_callbacks where job = $1 order by url

-- :callbackSent
update job_callbacks set sent = $3 where job = $1 and url = $2

-- :deleteCallback
delete from job_callbacks where job = $1 and url = $2 returning url

-- :insertRunners
insert into job_runners (job, node, position, processes)
select $1, r.node, r.position, r.processes from unnest($2::text[], $3::int[], $4::int[]) as r (node, position, processes)
on conflict (job, node) do nothing

-- :runners
select node, position, processes, out_sent as "outSent", err_sent as "errSent", exit_code as "exitCode" from job_runners where job = $1 order by position

-- :runnerSent
-- $2, $3: nodes and bytes; $4: which stream
update job_runners r set out_sent = case when $4 = 'out' then s.bytes else r.out_sent end, err_sent = case when $4 = 'err' then s.bytes else r.err_sent end
from unnest($2::text[], $3::int8[]) as s (node, bytes) where r.job = $1 and r.node = s.node

-- :runnerEnded
update job_runners set exit_code = $3 where job = $1 and node = $2

-- :dropKept
update jobs set kept_until = null where id = $1

-- :oldKept
select id from jobs where kept_until < now()

-- :knownJobs
select id from jobs where id = any ($1::text[]) and (phase <> 'ended' or kept_until is not null)
