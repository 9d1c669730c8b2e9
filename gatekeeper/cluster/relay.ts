/**
 * Follows one part: a long poll on its head's events, each taken over into the cluster's own with the site's name, and
 * after each batch the part's own view, from which states, hosts, plans and stage times are written down.
 * It ends with the job, or when the head does not know the part any more.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isGridError } from '../../src/domain/error.js';
import { clusterStates, type ClusterState } from '../../src/domain/lifecycle.js';
import { stages, type Stage } from '../../src/domain/plan.js';
import type { EventView } from '../../src/domain/views.js';
import type { PartView } from '../../src/ports.js';
import { awaitReturn } from './come-back.js';
import type { Job } from './job.js';

const pollSeconds = 30;
const awaySeconds = 60; // a head that is away for longer fails its nodes, while the cluster is not ready

/** What was written down of the part already, so that each fact is written once. */
interface Seen {
  state: ClusterState | undefined;
  planned: boolean;
  readonly stages: Set<string>;
  readonly nodes: Map<string, string>;
}

/** Begins to follow; returns at once. */
export function followPart(job: Job, site: string): void {
  follow(job, site).catch((error: unknown) => job.log.error({ site, err: error }, 'following a part ended'));
}

async function follow(job: Job, site: string): Promise<void> {
  const { id, tools, signal } = job;
  const seen: Seen = { state: undefined, planned: false, stages: new Set(), nodes: new Map() };
  let after = (await tools.records.parts(id)).find((part) => part.site === site)?.relayed ?? 0;
  let lost: number | undefined;
  for (let first = true; !signal.aborted; first = false) {
    try {
      const head = await tools.sites.head(site);
      const events = await head.awaitPartEvents(id, after, first ? 0 : pollSeconds);
      if (signal.aborted) return;
      if (lost !== undefined) await tools.records.event(id, { kind: 'warning', site, text: 'the site answers again' });
      lost = undefined;
      await tools.records.relay(id, site, events);
      after = events.at(-1)?.sequence ?? after;
      for (const event of events) await noteStart(job, site, event);
      if (first || events.length > 0) await note(job, site, await head.getPart(id), seen);
    } catch (error) {
      if (signal.aborted || isGridError(error, 'not-found')) return;
      if (lost === undefined) await tools.records.event(id, { kind: 'warning', site, text: `the site does not answer: ${(error as Error).message}` });
      lost ??= Date.now();
      if (Date.now() - lost > awaySeconds * 1000) await failSite(job, site, `it did not answer for ${awaySeconds} s`);
      await sleep(Math.min(2000, 100 + (Date.now() - lost) / 4), undefined, { signal }).catch(() => {});
    }
  }
}

/** "install: 31 packages" starts the clock of stage install. */
async function noteStart(job: Job, site: string, event: EventView): Promise<void> {
  const stage = /^[a-z]+/.exec(event.text)?.[0] as Stage | undefined;
  if (event.kind === 'stage-started' && stage !== undefined && stages.includes(stage)) await job.tools.records.startStage(job.id, site, stage, new Date(event.at));
}

async function note(job: Job, site: string, view: PartView, seen: Seen): Promise<void> {
  const { id, tools } = job;
  if (!seen.planned && view.plan.stages.length > 0) {
    await tools.records.setPlan(id, { ...view.plan, site });
    seen.planned = true;
  }
  for (const measured of view.measured.filter(({ stage }) => !seen.stages.has(stage))) {
    await tools.records.endStage(id, site, measured);
    seen.stages.add(measured.stage);
  }
  await noteNodes(job, site, view, seen);
  if (view.state === seen.state) return;
  seen.state = view.state;
  if (view.state === 'failed') await failSite(job, site, view.reason ?? 'its part failed');
  else await advance(job, site, view.state);
}

async function noteNodes(job: Job, site: string, view: PartView, seen: Seen): Promise<void> {
  const { id, tools, found } = job;
  const fresh = view.nodes.filter((node) => seen.nodes.get(node.name) !== node.state);
  if (seen.nodes.size === 0) await tools.records.setHosts(id, view.nodes);
  const firstRun = fresh.some((node) => node.state === 'running') && ![...seen.nodes.values()].includes('running');
  if (firstRun) await tools.records.startStage(id, site, 'join', new Date());
  for (const node of fresh) {
    seen.nodes.set(node.name, node.state);
    if (node.state === 'running') {
      found.roll?.runs(node.name, Date.now());
      await tools.records.setNode(id, node.name, 'running', { host: node.host });
      await awaitReturn(job, site, node.name);
    } else if (node.state === 'failed') {
      const told = node.reason ?? 'it did not start';
      const reason = told.startsWith(`host ${node.host}`) ? told : `on host ${node.host}: ${told}`;
      found.roll?.fails(node.name, reason);
      await tools.records.setNode(id, node.name, 'failed', { reason, host: node.host });
    }
  }
}

/** The cluster is as far as its slowest part. */
const furthest = new WeakMap<Job, Map<string, ClusterState>>();

async function advance(job: Job, site: string, state: ClusterState): Promise<void> {
  const states = furthest.get(job) ?? new Map<string, ClusterState>();
  furthest.set(job, states.set(site, state));
  const parts = (await job.tools.records.parts(job.id)).filter((part) => part.state === 'created');
  const least = Math.min(...parts.map((part) => clusterStates.indexOf(states.get(part.site) ?? 'accepted')));
  const to = clusterStates[Math.min(least, clusterStates.indexOf('joining'))];
  if (to !== undefined) await job.tools.records.advance(job.id, to);
}

async function failSite(job: Job, site: string, reason: string): Promise<void> {
  for (const node of job.found.roll?.siteFails(site, reason) ?? []) await job.tools.records.setNode(job.id, node, 'failed', { reason });
}
