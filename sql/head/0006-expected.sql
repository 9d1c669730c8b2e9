-- Of an installation in every node (place 'nodes'): seconds that the head alone would have taken, times the nodes that share a processor. Its
-- concurrency counts the nodes.
alter table timings add column expected double precision;
