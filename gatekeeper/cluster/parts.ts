/**
 * A cluster's parts at the heads: created, followed (events and states, as they come), confirmed, destroyed. A head that
 * is away is asked again; every call to a head may be repeated.
 */
import { eachLimited } from '../../src/domain/each-limited.js';
import { setTimeout as sleep } from 'node:timers/promises';
import { GridError, isGridError } from '../../src/domain/error.js';
import type { PartSpec } from '../../src/domain/node.js';
import type { RequestFile } from '../../src/domain/request.js';
import type { Job } from './job.js';
import { partSpec } from './material.js';
import type { PartRow } from './records.js';
import { followPart } from './relay.js';

const createSeconds = 15;
const confirmSeconds = 30;
const destroyPolls = { first: 50, most: 500 }; // ms

/** Hands every site its share and begins to follow it. A site that refuses fails its nodes; the roll says whether that matters. */
export async function createParts(job: Job): Promise<void> {
  const { id, tools, found } = job;
  const { material, roll } = found;
  if (material === undefined || roll === undefined) throw new GridError('internal', `cluster ${id} has no keys for its nodes`);
  const [cluster, parts, nodes] = await Promise.all([tools.records.cluster(id), tools.records.parts(id), tools.records.nodes(id)]);
  for (const node of nodes) {
    if (node.state === 'ready') roll.isReady(node.name, Date.now()); // verified before the gatekeeper was restarted
    if (node.state === 'failed') roll.fails(node.name, 'failed before the gatekeeper was restarted');
  }
  const files = await inlineFiles(job, cluster.owner, cluster.request.files);
  await tools.records.advance(id, 'building');
  await eachLimited(parts.filter((part) => part.state !== 'destroyed'), parts.length, async (part) => {
    const names = new Set(nodes.filter((node) => node.site === part.site).map((node) => node.name));
    try {
      await createPart(job, part, partSpec(cluster, material, part, { placed: nodes.length, names, files }));
      followPart(job, part.site);
    } catch (error) {
      if (job.signal.aborted || !isGridError(error)) throw error;
      const reason = error.hint === undefined ? error.message : `${error.message} (${error.hint})`;
      await tools.records.event(id, { kind: 'error', site: part.site, text: `the site refused its part: ${reason}` });
      for (const node of roll.siteFails(part.site, reason)) await tools.records.setNode(id, node, 'failed', { reason });
    }
  });
}

async function createPart(job: Job, part: PartRow, spec: PartSpec): Promise<void> {
  await job.tools.db.rows('setPartState', job.id, part.site, 'created'); // before the call: what might be there is undone
  await whileAway(job, createSeconds, async () => {
    const view = await (await job.tools.sites.head(part.site)).createPart(spec);
    if (view.plan.stages.length > 0) await job.tools.records.setPlan(job.id, { ...view.plan, site: part.site });
  });
}

/** Tells each head which of its nodes are verified; a part without any is destroyed. */
export async function confirmParts(job: Job): Promise<void> {
  const { id, tools, found } = job;
  const { roll } = found;
  if (roll === undefined) throw new GridError('internal', `cluster ${id} has no roll`);
  const parts = (await tools.records.parts(id)).filter((part) => part.state === 'created');
  await eachLimited(parts, parts.length, async ({ site }) => {
    const ready = roll.ready(site);
    if (ready.length === 0) return destroyPart(job, site);
    const measured = roll.measured(site);
    for (const stage of measured) await tools.records.endStage(id, site, stage);
    // wrong-state: the last node was verified before the head had written down that all run
    await whileAway(job, confirmSeconds, async () => void (await (await tools.sites.head(site)).confirmPart(id, measured, ready)), ['wrong-state']);
  });
}

export async function extendParts(job: Job, expires: Date): Promise<void> {
  const parts = (await job.tools.records.parts(job.id)).filter((part) => part.state === 'created');
  await eachLimited(parts, parts.length, async ({ site }) => {
    await whileAway(job, confirmSeconds, async () => void (await (await job.tools.sites.head(site)).extendPart(job.id, expires.getTime())));
  });
}

/** Undo: returns when every head says that its part is gone; throws `unavailable` if one is away. */
export async function destroyParts(job: Job): Promise<void> {
  const parts = (await job.tools.records.parts(job.id)).filter((part) => part.state === 'created');
  await eachLimited(parts, parts.length, ({ site }) =>
    destroyPart(job, site).catch((error: unknown) => {
      if (!isGridError(error)) throw error;
      throw new GridError(error.kind, `site ${site} still has its part: ${error.message}`, { cause: error });
    }),
  );
}

async function destroyPart(job: Job, site: string): Promise<void> {
  const head = await job.tools.sites.head(site);
  let { state } = await head.destroyPart(job.id);
  for (let pause = destroyPolls.first; state !== 'destroyed'; pause = Math.min(pause * 2, destroyPolls.most)) {
    await sleep(pause);
    state = await head.getPart(job.id).then(
      (view) => view.state,
      (error: unknown) => {
        if (isGridError(error, 'not-found')) return 'destroyed' as const;
        throw error;
      },
    );
  }
  await job.tools.db.rows('setPartState', job.id, site, 'destroyed');
}

/** Repeats `work` while its failure is `unavailable` or `timeout` (or one of `also`), for so many seconds. */
async function whileAway(job: Job, seconds: number, work: () => Promise<void>, also: readonly string[] = []): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  for (let pause = 50; ; pause = Math.min(pause * 2, 1000)) {
    try {
      return await work();
    } catch (error) {
      const again = isGridError(error) && (error.kind === 'unavailable' || error.kind === 'timeout' || also.includes(error.kind));
      if (!again || Date.now() > deadline || job.signal.aborted) throw error;
    }
    await sleep(pause, undefined, { signal: job.signal }).catch(() => {});
  }
}

/** Uploads become inline content: a head knows no uploads. */
async function inlineFiles(job: Job, owner: string, files: readonly RequestFile[]): Promise<readonly RequestFile[]> {
  return Promise.all(
    files.map(async (file) => {
      if (file.source.kind === 'inline') return file;
      const content = await job.tools.uploads.read(owner, file.source.id);
      return { ...file, source: { kind: 'inline', base64: Buffer.from(content).toString('base64') } as const };
    }),
  );
}
