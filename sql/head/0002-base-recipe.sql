-- A base image answers for how it was made: another recipe (packages, init of the nodes) makes a new one.
alter table layers add column recipe text not null default '';
