/**
 * Follows a cluster until it is ready or final. On a terminal a live table is redrawn in place; in a pipe each
 * event is one plain line, as it comes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isGridError, GridError } from '../domain/error.js';
import { isFinal } from '../domain/lifecycle.js';
import type { ClusterView, EventView } from '../domain/views.js';
import type { ClusterClient } from '../soap/client.js';
import { stageTable, summary } from './stage-table.js';

export interface Follow {
  readonly client: ClusterClient;
  readonly id: string;
  readonly signal: AbortSignal;
  /** Where progress goes: data stay on standard output. */
  readonly out: NodeJS.WriteStream;
  /** Goal besides a final state; default `ready`. */
  readonly until?: 'ready' | 'final';
}

const redrawMilliseconds = 200;
const pollSeconds = 30;
const quietMilliseconds = 5000;

/** @returns the cluster as it is then. @throws interrupted when `signal` is aborted (the cluster lives on) */
export async function follow(options: Follow): Promise<ClusterView> {
  const live = options.out.isTTY && process.env['TERM'] !== 'dumb';
  return live ? followLive(options) : followLines(options);
}

async function followLive(options: Follow): Promise<ClusterView> {
  const { client, id, signal, out } = options;
  let drawn = 0;
  for (;;) {
    const cluster = await client.getCluster(id, { signal });
    const lines = [summary(cluster), ...stageTable(cluster.stages).split('\n')].map((line) => line.slice(0, (out.columns || 80) - 1));
    out.write(`${drawn > 0 ? `\x1b[${drawn}A` : ''}${lines.map((line) => `\x1b[2K${line}\n`).join('')}\x1b[J`);
    drawn = lines.length;
    if (reached(cluster, options)) return cluster;
    await sleep(redrawMilliseconds, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) throw new GridError('interrupted', `no longer waiting for cluster ${id}`);
  }
}

async function followLines(options: Follow): Promise<ClusterView> {
  const { client, id, signal, out } = options;
  let after = options.until === 'final' ? ((await client.awaitEvents(id, 0, 0, { signal })).at(-1)?.sequence ?? 0) : 0; // its end, not its whole life
  const worthALine = thinned();
  for (;;) {
    const cluster = await client.getCluster(id, { signal });
    const goal = reached(cluster, options);
    const events = await client.awaitEvents(id, after, goal ? 0 : pollSeconds, { signal }).catch((error: unknown) => {
      if (goal && isGridError(error, 'not-found')) return [];
      throw error;
    });
    for (const event of events.filter(worthALine)) out.write(`${eventLine(event, cluster)}\n`);
    after = events.at(-1)?.sequence ?? after;
    if (!goal) continue;
    out.write(`${summary(cluster)}\n`);
    return cluster;
  }
}

/** Lets at most one line like "install: 12% unpack gcc" through in five seconds, for each site; all else passes. */
function thinned(): (event: EventView) => boolean {
  const last = new Map<string, number>();
  return ({ site, text, at }) => {
    if (!/^[a-z]+: \d+% /.test(text)) return true;
    const now = Date.parse(at);
    if (now - (last.get(site) ?? 0) < quietMilliseconds) return false;
    last.set(site, now);
    return true;
  };
}

/** "  12.3 s  alpha/n1  joined": seconds since the cluster was asked for. */
export function eventLine(event: EventView, cluster: ClusterView): string {
  const since = ((Date.parse(event.at) - Date.parse(cluster.created)) / 1000).toFixed(1).padStart(6);
  const where = [event.site, event.node].filter((part) => part !== '').join('/');
  const mark = event.kind === 'warning' || event.kind === 'error' ? `${event.kind}: ` : '';
  return `${since} s  ${where === '' ? '' : `${where}  `}${mark}${event.text}`;
}

function reached(cluster: ClusterView, options: Follow): boolean {
  return isFinal(cluster.state) || ((options.until ?? 'ready') === 'ready' && (cluster.state === 'ready' || cluster.state === 'destroying'));
}
