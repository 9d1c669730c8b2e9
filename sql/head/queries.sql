-- Every statement of the head, by name (src/store/queries.ts reads this file).

-- :putHost
insert into hosts (name, kind, memory, disk, vcpus, problems, about) values ($1, $2, $3, $4, $5, $6, $7)
on conflict (name) do update set kind = excluded.kind, memory = excluded.memory, disk = excluded.disk, vcpus = excluded.vcpus,
  problems = excluded.problems, about = excluded.about, checked = now()

-- :registeredHosts
select name, settings from hosts where settings is not null order by name

-- :registerHost
insert into hosts (name, kind, memory, disk, vcpus, settings) values ($1, $2, 0, 0, 0, $3)
on conflict (name) do update set kind = excluded.kind, settings = excluded.settings, state = 'open'

-- :forgetHost
-- its row stays for what ran there
update hosts set settings = null, state = 'closed' where name = $1

-- :setHostState
update hosts set state = $2 where name = $1 returning name

-- :hostViews
select h.name, h.kind, h.state, h.memory, h.disk, h.vcpus, h.problems, h.about, h.checked, count(n.name)::int as nodes,
  (h.memory - coalesce(sum(n.memory), 0))::int as "freeMemory", (h.disk - coalesce(sum(n.disk), 0))::int as "freeDisk"
from hosts h left join nodes n on n.host = h.name and n.state <> 'gone'
where h.name = any($1)
group by h.name order by h.name

-- :nodesOnHost
select cluster, count(*)::int as nodes from nodes where host = $1 and state <> 'gone' group by cluster order by cluster

-- :hostCapacities
select h.name as host, h.vcpus, (h.memory - coalesce(sum(n.memory), 0))::int as "freeMemory", (h.disk - coalesce(sum(n.disk), 0))::int as "freeDisk"
from hosts h left join nodes n on n.host = h.name and n.state <> 'gone'
where h.state = 'open' and h.problems = '{}' and h.name = any($1)
group by h.name order by h.name

-- :lockHosts
-- taken before capacities are read in a placement: one placement at a time
select name from hosts order by name for update

-- :addressesInUse
select host(address) as address from nodes where state <> 'gone'

-- :insertRequest
insert into requests (cluster, owner, state, asked, expires) values ($1, $2, 'accepted', $3, $4)
on conflict (cluster) do nothing returning cluster

-- :insertNode
insert into nodes (cluster, name, host, address, memory, disk, vcpus) values ($1, $2, $3, $4, $5, $6, $7)

-- :request
select cluster, owner, state, reason, asked, plan, image, created, expires from requests where cluster = $1

-- :requestForUpdate
select state from requests where cluster = $1 for update

-- :unfinishedRequests
select cluster, state from requests where state not in ('destroyed', 'failed') order by created

-- :expiredRequests
select cluster from requests where state not in ('destroying', 'destroyed', 'failed') and expires < $1

-- :setState
update requests set state = $2, reason = coalesce($3, reason), finished = case when $2 in ('destroyed', 'failed') then now() end where cluster = $1

-- :setPlan
update requests set plan = $2, image = $3 where cluster = $1

-- :setExpires
update requests set expires = $2 where cluster = $1

-- :nodesOf
select name, host, host(address) as address, state, reason, replaced from nodes where cluster = $1 order by length(name), name

-- :setNodeState
update nodes set state = $3, reason = coalesce($4, reason) where cluster = $1 and name = $2 and (state <> 'gone' or $3 = 'gone')

-- :replaceNode
update nodes set replaced = replaced + 1 where cluster = $1 and name = $2 returning replaced

-- :setNodeImage
update requests set node_image = $2 where cluster = $1

-- :nodeImage
select node_image as image from requests where cluster = $1

-- :allNodesGone
update nodes set state = 'gone' where cluster = $1

-- :insertEvent
insert into events (cluster, sequence, node, kind, text)
select $1, coalesce(max(sequence), 0) + 1, $2, $3, $4 from events where cluster = $1
returning sequence

-- :eventsAfter
select sequence, at, node, kind, text from events where cluster = $1 and sequence > $2 order by sequence limit 500

-- :insertTiming
insert into timings (cluster, node, stage, bytes, items, started, seconds, predicted, installed, concurrency, speed, shared, place, expected)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)

-- :timingsOf
select stage, bytes, items, seconds from timings where cluster = $1 and node = '' order by id

-- :nodeTimingsOf
select node, stage, seconds from timings where cluster = $1 and node <> '' order by id

-- :timingsSince
-- the newest 3000 after the one given, whole parts only, oldest first
-- what was built for another request, and is learned from that one's rows, is left out
select id, cluster, stage, bytes, items, seconds, installed, concurrency, place, expected, image from (
  select t.id, t.cluster, t.stage, t.bytes, t.items, t.seconds, t.installed, t.concurrency, t.place, t.expected, r.image
  from timings t left join requests r on r.cluster = t.cluster
  where t.node = '' and not t.shared and t.id > $1 order by t.id desc limit 3000
) newest order by id

-- :packageTimingsOf
select cluster, package, version, phase, seconds, bytes, files from package_timings where cluster = any($1) order by id

-- :insertPredictions
insert into predictions (cluster, stage, model, chosen, seconds, low, high)
select $1, * from unnest($2::text[], $3::text[], $4::boolean[], $5::float8[], $6::float8[], $7::float8[])
on conflict (cluster, stage, model) do nothing

-- :predictionsOf
select stage, model, chosen, seconds, low, high from predictions where cluster = $1 order by stage, model

-- :judgedPredictions
-- what each model said of the last 1000 parts, and what it took; a stage that ran again after a restart counts as it was first
select p.cluster, p.stage, p.model, p.chosen, p.seconds, p.low, p.high, t.seconds as measured
from (select cluster from requests order by created desc limit 1000) r
  join predictions p on p.cluster = r.cluster
  join lateral (select seconds from timings where cluster = p.cluster and stage = p.stage and node = '' order by id limit 1) t on true

-- :slowestPackagesOf
select package, max(version) as version, sum(seconds) as seconds from package_timings where cluster = $1
group by package order by sum(seconds) desc limit 10

-- :readySince
select at from events where cluster = $1 and kind = 'state' and text = 'ready' order by sequence limit 1

-- :insertPackageTimings
insert into package_timings (cluster, package, version, phase, seconds, bytes, files)
select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::float8[], $6::bigint[], $7::int[])

-- :putLayer
insert into layers (digest, kind, os, bytes, recipe) values ($1, $2, $3, $4, $5) on conflict (digest) do nothing

-- :dropLayer
delete from layers where digest = $1

-- :newestBase
select digest, kind, os, bytes, stale from layers where kind = 'base' and os = $1 and recipe = $2 order by built desc limit 1

-- :newestKernel
select digest, bytes from layers where kind = 'kernel' and os = $1 and recipe = $2 order by built desc limit 1

-- :layersByDigest
select digest, kind, os, bytes from layers where digest = any($1)

-- :stockedLayers
select digest, kind, os, bytes, recipe, built, verified, stale from layers order by built desc

-- :setBaseStale
update layers set stale = $2 where digest = $1 and stale <> $2

-- :leastVerified
select digest from layers where verified < $1 order by verified limit 1

-- :layerVerified
update layers set verified = now() where digest = $1

-- :putImage
insert into images (key, os, kind, base, layers, packages, asked, pinned) values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (key) do update set layers = excluded.layers, base = excluded.base, built = now(), stale = false

-- :useImage
update images set last_used = now(), uses = uses + 1 where key = $1

-- :stockedImages
select key, number, os, kind, base, layers, packages, asked, stale, pinned, built, last_used as "lastUsed", uses from images order by number

-- :setImageStale
update images set stale = $2 where key = $1 and stale <> $2

-- :pinImage
update images set pinned = true where key = $1

-- :dropImage
delete from images where key = $1

-- :imagesWithLayer
select key from images where $1 = any(layers)

-- :addRequestLayers
update requests set layers = array(select distinct unnest(layers || $2::text[])) where cluster = $1

-- :layersInUse
select distinct unnest(layers) as digest from requests where state not in ('destroyed', 'failed')

-- :recentAsked
-- what was asked of late and did not fail (an image with a package that cannot be installed cannot be made), newest first; the maker opens the bundles
select asked->>'os' as os, asked->'packages' as packages, asked->'bundles' as bundles from requests where state <> 'failed' and reason is null order by created desc limit $1
