-- What each model said before the work of a request began, so that a report can set it beside the timings.
-- `chosen`: the one that the plan went by.
create table predictions (
  cluster text not null references requests,
  stage   text not null,
  model   text not null,
  chosen  boolean not null,
  seconds double precision not null,
  low     double precision not null,        -- 90 % interval
  high    double precision not null,
  primary key (cluster, stage, model)
);

create index package_timings_by_cluster on package_timings (cluster);
