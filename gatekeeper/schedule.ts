/**
 * Which site runs how many nodes: pure, a function of the request and of what the sites said a moment ago.
 *
 * A host takes as many nodes as fit by memory and by disk; processors are a soft limit (domain/capacity.ts: 32 vcpus on
 * one). `pack` takes one site if any single one is large enough, else as few as possible; `spread` goes round the sites.
 * Sites come in the request's order of preference; without one, those with most room first, then by name.
 */
import { roomFor } from '../src/domain/capacity.js';
import { GridError } from '../src/domain/error.js';
import type { ClusterRequest } from '../src/domain/request.js';
import type { HostCapacity, SiteSnapshot, SiteState } from '../src/domain/views.js';

export interface KnownSite {
  readonly name: string;
  readonly state: SiteState;
  /** Undefined: it did not answer in time. */
  readonly snapshot?: SiteSnapshot;
}

export type NodeDemand = Pick<ClusterRequest, 'memory' | 'disk' | 'vcpus' | 'os' | 'bundles'>;
export type Demand = NodeDemand & Pick<ClusterRequest, 'count' | 'minCount' | 'sites' | 'placement' | 'onFailure'>;

export interface Share {
  readonly site: string;
  readonly nodes: number;
}

interface Candidate {
  readonly name: string;
  readonly room: number;
}

/**
 * Shares of at least one node each, in node-number order.
 * Refuses: bad-request (no such site), wrong-state (a named site takes nothing), unavailable (a named site does not
 * answer), no-capacity (with what was asked and what is free per site).
 */
export function schedule(demand: Demand, known: readonly KnownSite[]): readonly Share[] {
  const allowed = demand.sites.length > 0 ? demand.sites.map((name) => namedSite(name, known)) : known.filter((site) => site.state === 'open');
  const candidates = allowed.map((site) => ({ name: site.name, room: siteRoom(site, demand) }));
  const usable = demand.sites.length > 0 ? candidates : [...candidates].sort(byRoom);
  const total = usable.reduce((sum, site) => sum + site.room, 0);
  const count = Math.min(demand.count, total);
  if (count < required(demand)) throw shortage(demand, allowed, total);
  return demand.placement === 'spread' ? spread(count, usable) : pack(count, usable);
}

/** How many nodes must be ready for the cluster to be of use. */
export function required(demand: Pick<ClusterRequest, 'count' | 'minCount' | 'onFailure'>): number {
  switch (demand.onFailure) {
    case 'all':
      return demand.count;
    case 'minimum':
      return demand.minCount;
    case 'any':
      return 1;
  }
}

function siteRoom(site: KnownSite, demand: NodeDemand): number {
  if (site.snapshot === undefined || missing(site.snapshot, demand) !== undefined) return 0;
  return site.snapshot.hosts.reduce((sum, host) => sum + roomFor(demand, host), 0);
}

/** What the site does not offer at all, in words; undefined if it offers everything. */
function missing(snapshot: SiteSnapshot, demand: NodeDemand): string | undefined {
  if (!snapshot.releases.includes(demand.os)) return `has no ${demand.os}, only ${snapshot.releases.join(', ') || 'nothing'}`;
  const bundle = demand.bundles.find((name) => !snapshot.bundles.includes(name));
  return bundle === undefined ? undefined : `has no bundle ${bundle}, only ${snapshot.bundles.join(', ') || 'none'}`;
}

function namedSite(name: string, known: readonly KnownSite[]): KnownSite {
  const site = known.find((one) => one.name === name);
  if (site === undefined) {
    throw new GridError('bad-request', `there is no site ${JSON.stringify(name)}`, { hint: `sites: ${known.map((one) => one.name).join(', ') || 'none is registered'}` });
  }
  if (site.state !== 'open') throw new GridError('wrong-state', `site ${name} is ${site.state} and takes no new nodes`, { hint: 'name another site, or none' });
  if (site.snapshot === undefined) throw new GridError('unavailable', `site ${name} does not answer`, { hint: 'name another site, or none, or try later' });
  return site;
}

/** The fewest sites, each filled in order of preference. */
function pack(count: number, sites: readonly Candidate[]): readonly Share[] {
  const single = sites.find((site) => site.room >= count);
  if (single) return [{ site: single.name, nodes: count }];
  const chosen = new Set<Candidate>();
  let room = 0;
  for (const site of [...sites].sort((a, b) => b.room - a.room)) {
    if (room >= count) break;
    chosen.add(site);
    room += site.room;
  }
  let left = count;
  return sites
    .filter((site) => chosen.has(site))
    .map((site) => {
      const nodes = Math.min(left, site.room);
      left -= nodes;
      return { site: site.name, nodes };
    });
}

/** One node to each site in turn, until all are placed; full sites drop out. */
function spread(count: number, sites: readonly Candidate[]): readonly Share[] {
  const nodes = new Map(sites.map((site) => [site.name, 0]));
  for (let left = count; left > 0; ) {
    const open = sites.filter((site) => (nodes.get(site.name) ?? 0) < site.room);
    for (const site of open.slice(0, left)) nodes.set(site.name, (nodes.get(site.name) ?? 0) + 1);
    left -= Math.min(left, open.length);
  }
  return sites.map((site) => ({ site: site.name, nodes: nodes.get(site.name) ?? 0 })).filter((share) => share.nodes > 0);
}

function byRoom(a: Candidate, b: Candidate): number {
  return b.room - a.room || (a.name < b.name ? -1 : 1);
}

function shortage(demand: Demand, allowed: readonly KnownSite[], total: number): GridError {
  const asked = `${demand.count} nodes of ${demand.memory} MiB memory, ${demand.disk} MiB disk and ${demand.vcpus} vcpus (${required(demand)} of them needed)`;
  const free = allowed.map((site) => `${site.name}: ${freeText(site, demand)}`).join('; ');
  return new GridError('no-capacity', `asked: ${asked}; there is room for ${total}. Free: ${free || 'no site is open'}`, {
    hint: 'ask for fewer or smaller nodes, set min_count with on_failure=minimum, or try again later',
  });
}

function freeText(site: KnownSite, demand: NodeDemand): string {
  if (site.snapshot === undefined) return 'does not answer';
  const lacks = missing(site.snapshot, demand);
  if (lacks !== undefined) return lacks;
  const most = (of: (host: HostCapacity) => number): number => site.snapshot?.hosts.reduce((top, host) => Math.max(top, of(host)), 0) ?? 0;
  const hosts = site.snapshot.hosts.length;
  return `${siteRoom(site, demand)} such nodes on ${hosts} host${hosts === 1 ? '' : 's'} (at most ${most((h) => h.freeMemory)} MiB memory and ${most((h) => h.freeDisk)} MiB disk free on one)`;
}
