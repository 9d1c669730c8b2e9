/**
 * One task per living cluster: it brings the cluster up and stays with it, or takes it down. At the gatekeeper's start
 * every cluster that holds anything is resumed, adopted or undone. A watch ends clusters whose lease has ended.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { GridError, isGridError } from '../../src/domain/error.js';
import type { ClusterState } from '../../src/domain/lifecycle.js';
import type { Hub } from '../hub/hub.js';
import { bringUp, takeDown } from './bring-up.js';
import { startHub } from './hub.js';
import type { Job, Tools } from './job.js';
import { followPart } from './relay.js';

const watchMilliseconds = 1000;
/** A ready cluster is given up only when its hub does not come after this many tries (about 20 s). */
const adoptTries = 6;
const retrySeconds = { first: 1, most: 60 };
/** A failed cluster says so after this long even if a site that is away still has a part to undo. */
const undoPatienceSeconds = 15;

interface Task {
  readonly job: Job;
  readonly stop: AbortController;
  readonly done: Promise<void>;
}

export class ClusterTasks {
  private readonly rising = new Map<string, Task>();
  private readonly falling = new Map<string, Promise<void>>();
  private readonly closing = new AbortController();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly tools: Tools) {}

  /** Resumes what the last gatekeeper left, then watches leases. */
  async start(): Promise<void> {
    for (const { id, state } of await this.tools.db.rows<{ id: string; state: ClusterState }>('unfinishedClusters')) {
      if (state === 'destroying' || state === 'failed') this.fall(id, state === 'destroying');
      else this.rise(id, state === 'ready' ? adopt : bringUp);
    }
    this.timer = setInterval(() => void this.watch().catch((error: unknown) => this.tools.log.warn({ err: error }, 'the lease watch failed')), watchMilliseconds);
  }

  /** Begins the bring-up; returns at once. */
  up(id: string): void {
    if (!this.closing.signal.aborted) this.rise(id, bringUp);
  }

  /** Marks the cluster `destroying` and begins to undo it; returns once it is marked. Repeatable. */
  async down(id: string): Promise<void> {
    const state = (await this.tools.records.owned(id))?.state;
    if (state === undefined || state === 'destroyed') return;
    if (state !== 'destroying') await this.tools.records.become(id, 'destroying');
    this.fall(id, true);
  }

  /** The running hub of a cluster, if this gatekeeper has one. */
  hub(id: string): Hub | undefined {
    return this.rising.get(id)?.job.found.hub;
  }

  job(id: string): Job | undefined {
    return this.rising.get(id)?.job;
  }

  /** Lets go of everything: bring-ups stop where they are and resume at the next start, hubs and nodes run on. */
  async close(): Promise<void> {
    this.closing.abort();
    clearInterval(this.timer);
    for (const task of this.rising.values()) task.stop.abort();
    await Promise.allSettled([...[...this.rising.values()].map((task) => task.done), ...this.falling.values()]);
    for (const task of this.rising.values()) task.job.found.hub?.detach();
  }

  private rise(id: string, story: (job: Job) => Promise<void>): void {
    if (this.rising.has(id)) return;
    const stop = new AbortController();
    const job: Job = { tools: this.tools, id, signal: stop.signal, log: this.tools.log.child({ cluster: id }), found: {} };
    const done = this.run(job, story, stop).catch((error: unknown) => job.log.error({ err: error }, 'a cluster task ended badly'));
    this.rising.set(id, { job, stop, done });
  }

  private async run(job: Job, story: (job: Job) => Promise<void>, stop: AbortController): Promise<void> {
    const { records } = this.tools;
    try {
      await story(job);
      job.log.info('ready');
    } catch (error) {
      if (job.signal.aborted) return; // destroyed, or resumed at the next start
      if (isGridError(error)) job.log.warn({ reason: error.message }, 'bring-up failed');
      else job.log.error({ err: error }, 'bring-up failed');
      const reason = reasonOf(error, job.id);
      const undone = this.undo(job);
      await Promise.race([undone, sleep(undoPatienceSeconds * 1000, undefined, { signal: job.signal }).catch(() => {})]);
      if (job.signal.aborted) return void (await undone);
      const tell = (): Promise<void> => records.become(job.id, 'failed', reason);
      await tell().catch(async () => (await undone) && tell()); // the database may be away, too: it is there once all is undone
      if (await undone) {
        await this.tools.db.rows('setUndone', job.id);
        stop.abort(); // nothing is left to follow
        if (this.rising.get(job.id)?.job === job) this.rising.delete(job.id);
      }
    }
  }

  /** Ends the task of a cluster that is to go, then undoes everything. */
  private fall(id: string, destroy: boolean): void {
    if (this.falling.has(id)) return;
    const down = async (): Promise<void> => {
      const task = this.rising.get(id);
      task?.stop.abort();
      await task?.done;
      const job: Job = { tools: this.tools, id, signal: this.closing.signal, log: this.tools.log.child({ cluster: id }), found: task?.job.found ?? {} };
      this.rising.delete(id);
      if (!(await this.undo(job))) return job.found.hub?.detach();
      await this.tools.db.rows('setUndone', id);
      const state = (await this.tools.records.owned(id))?.state;
      if (state === 'destroying' || (destroy && state === 'failed')) await this.tools.records.become(id, 'destroyed');
      job.log.info('everything is given back');
    };
    const done = down()
      .catch((error: unknown) => this.tools.log.error({ cluster: id, err: error }, 'destroying ended badly'))
      .finally(() => this.falling.delete(id));
    this.falling.set(id, done);
  }

  /** Takes everything down, again and again until it is; false if the job ends before that. */
  private async undo(job: Job): Promise<boolean> {
    for (let pause = retrySeconds.first; ; pause = Math.min(pause * 2, retrySeconds.most)) {
      try {
        await takeDown(job);
        return true;
      } catch (error) {
        if (!isGridError(error)) job.log.error({ err: error }, 'undo failed');
        await this.tools.records.event(job.id, { kind: 'warning', text: `undo: ${reasonOf(error, job.id)}; trying again in ${pause} s` }).catch(() => {});
      }
      await sleep(pause * 1000, undefined, { signal: job.signal }).catch(() => {});
      if (job.signal.aborted) return false;
    }
  }

  private async watch(): Promise<void> {
    for (const { id } of await this.tools.db.rows<{ id: string }>('expiredClusters')) {
      await this.tools.records.event(id, { kind: 'state', text: 'the lease has ended' });
      await this.down(id);
    }
  }
}

/** A cluster that was ready when the last gatekeeper ended: its hub is adopted, its parts are followed again. */
async function adopt(job: Job): Promise<void> {
  const { id, tools, found } = job;
  const [material, parts] = await Promise.all([tools.secrets.read(id), tools.records.parts(id)]);
  if (material === undefined) throw new GridError('internal', `the keys of cluster ${id} are gone from this gatekeeper`);
  found.material = material;
  for (let tries = 1; ; tries++) {
    try {
      await startHub(job);
      break;
    } catch (error) {
      if (tries === adoptTries || job.signal.aborted) throw error;
      job.log.warn({ err: error, tries }, 'the hub of a ready cluster does not start');
      await sleep(tries * 1000, undefined, { signal: job.signal }).catch(() => {});
    }
  }
  for (const part of parts) if (part.state === 'created') followPart(job, part.site);
}

function reasonOf(error: unknown, id: string): string {
  if (!isGridError(error)) return `internal error, reference ${id}`;
  return error.hint === undefined ? error.message : `${error.message} (${error.hint})`;
}
