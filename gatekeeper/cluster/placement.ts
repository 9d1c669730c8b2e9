/**
 * Where a cluster goes. Done while its creator waits, so that what cannot be is refused at once and leaves no row; and
 * again in the background, with more patience, if a site was slow to say what it has.
 */
import { isGridError } from '../../src/domain/error.js';
import type { ClusterRequest } from '../../src/domain/request.js';
import type { Database } from '../../src/store/database.js';
import { schedule, type Share } from '../schedule.js';
import type { Sites } from '../sites.js';
import type { ClusterRecords } from './records.js';

const creatorSeconds = 1;

export interface Placement {
  readonly shares: readonly Share[];
  /** Open sites that did not answer. */
  readonly silent: readonly string[];
}

/** Asks every site and decides; throws what schedule throws. @param seconds that a site has for its answer */
export async function place(request: ClusterRequest, sites: Sites, seconds?: number): Promise<Placement> {
  const known = await sites.known(seconds);
  return { shares: schedule(request, known), silent: known.filter((site) => site.state === 'open' && site.snapshot === undefined).map((site) => site.name) };
}

/**
 * For the creator: a placement, or undefined if a slow site may still change the answer. Throws what the scheduler
 * refuses, and bad-request if a chosen head knows that it has no such release, bundle or package.
 */
export async function placeNow(request: ClusterRequest, sites: Sites): Promise<Placement | undefined> {
  // Every open head checks the request while it says what it has: one round trip, not two.
  const checks = new Map<string, Promise<void>>();
  const known = await sites.known(creatorSeconds, (site, head) => {
    const check = head.check(request);
    check.catch(() => {}); // told below, if the site is chosen
    checks.set(site, check);
  });
  const silent = known.filter((site) => site.state === 'open' && site.snapshot === undefined).map((site) => site.name);
  try {
    const shares = schedule(request, known);
    await Promise.all(shares.map(({ site }) => checks.get(site)));
    return { shares, silent };
  } catch (error) {
    const later = (isGridError(error, 'no-capacity') && silent.length > 0) || isGridError(error, 'timeout');
    if (later) return undefined;
    throw error;
  }
}

/** Writes the shares down as parts. */
export async function storeParts(tx: Database, id: string, shares: readonly Share[]): Promise<void> {
  for (const [position, share] of shares.entries()) await tx.rows('insertPart', id, share.site, share.nodes, position);
}

export async function tellPlacement(records: ClusterRecords, id: string, request: ClusterRequest, { shares, silent }: Placement): Promise<void> {
  const placed = shares.reduce((sum, share) => sum + share.nodes, 0);
  await records.event(id, { kind: 'state', text: `placed: ${shares.map((share) => `${share.nodes} at ${share.site}`).join(', ')}` });
  if (silent.length > 0) await records.warn(id, `left out, because it does not answer: ${silent.join(', ')}`);
  if (placed < request.count) await records.warn(id, `there was room for ${placed} of ${request.count} nodes`);
}
