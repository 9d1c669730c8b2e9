-- For quotas of a VO, for leases that were cut to a credential's end, and for delegations that nobody needs any more.
alter table clusters add column vo text not null default '';       -- of the creator's primary FQAN
alter table clusters add column asked timestamptz;                  -- end of the lease as asked; expires is it, or earlier
update clusters set asked = expires;
alter table clusters alter column asked set not null;
create index clusters_living_of_vo on clusters (vo) where undone is null;

alter table delegations add column put timestamptz;                 -- when the chain came
update delegations set put = created where not_after is not null;
