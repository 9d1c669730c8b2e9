-- A cluster as the outside sees it, in one row: this is what clients poll.
create view cluster_views as
select c.id, c.owner, c.undone, c.state, c.reason, c.warnings, c.created, c.ready_at as "readyAt", c.expires, (c.request->>'count')::int as count,
  (select coalesce(json_agg(json_build_object('name', n.name, 'site', n.site, 'host', n.host, 'overlayAddress', host(n.address), 'state', n.state, 'reason', n.reason) order by n.number), '[]')
     from nodes n where n.cluster = c.id) as nodes,
  (select coalesce(json_agg(json_build_object('site', s.site, 'stage', s.stage, 'predicted', s.predicted, 'seconds', s.seconds,
       'running', extract(epoch from now() - s.started)) order by p.position, s.position), '[]')
     from stages s join parts p on p.cluster = s.cluster and p.site = s.site where s.cluster = c.id) as stages,
  (select coalesce(max((p.plan->>'predicted')::float8), 0) from parts p where p.cluster = c.id) as predicted
from clusters c;
