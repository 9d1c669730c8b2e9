/** The rows of GRAM's jobs: what was asked, where each is, who is told, what of its output has arrived. */
import { randomBytes, randomInt } from 'node:crypto';
import type { Caller } from '../../src/domain/views.js';
import type { Database } from '../../src/store/database.js';
import type { JobRequest } from './job-request.js';
import { states } from './protocol.js';

/**
 *   arriving ──> waiting ──> staging ──> running ──> delivering ──> ending ──> ended
 *   uncommitted ──^   └────────┴────────────┴───────────┴───────────────^
 *
 * `ending`: the outcome stands and is told, the cluster is given back. A held cluster goes from waiting to running.
 */
export type Phase = 'arriving' | 'uncommitted' | 'waiting' | 'staging' | 'running' | 'delivering' | 'ending' | 'ended';

export interface JobRow {
  readonly id: string;
  readonly secret: string;
  readonly owner: string;
  readonly caller: Caller;
  readonly request: JobRequest;
  readonly state: number;
  readonly failureCode: number;
  readonly exitCode: number | null;
  readonly reason: string | null;
  readonly cluster: string | null;
  readonly phase: Phase;
  readonly commitBy: Date | null;
  readonly started: Date | null;
  readonly finished: Date | null;
  readonly keptUntil: Date | null;
}

export interface CallbackRow {
  readonly url: string;
  readonly mask: number;
  readonly sent: number;
}

export interface RunnerRow {
  readonly node: string;
  readonly position: number;
  readonly processes: number;
  readonly outSent: number;
  readonly errSent: number;
  readonly exitCode: number | null;
}

export interface Outcome {
  readonly state: typeof states.done | typeof states.failed;
  readonly failureCode: number;
  readonly exitCode?: number;
  readonly reason?: string;
}

export interface NewJob {
  readonly id: string;
  readonly secret: string;
  readonly caller: Caller;
  readonly service: string;
  readonly rsl: string;
  readonly request: JobRequest;
  /** Of a standing cluster, when it need not be waited for that a new one is stored. */
  readonly cluster?: string;
  readonly phase: 'arriving' | 'uncommitted' | 'waiting';
  readonly commitBy?: Date;
  readonly callback?: { readonly url: string; readonly mask: number };
}

export class JobRecords {
  constructor(readonly db: Database) {}

  async insert(job: NewJob): Promise<void> {
    const { id, callback, phase } = job;
    const state = phase === 'waiting' ? states.pending : states.unsubmitted;
    await this.db.rows('insertJob', id, job.secret, job.caller.subject, JSON.stringify(job.caller), job.service, job.rsl.replaceAll('\0', ''), JSON.stringify(job.request), state, job.cluster ?? null, phase, job.commitBy ?? null, callback?.url ?? null, callback?.mask ?? null);
  }

  job(id: string): Promise<JobRow | undefined> {
    return this.db.row<JobRow>('job', id);
  }

  async living(): Promise<readonly string[]> {
    return (await this.db.rows<{ id: string }>('livingJobs')).map(({ id }) => id);
  }

  /** Jobs of one owner that have not ended. */
  async count(owner: string): Promise<number> {
    return (await this.db.row<{ jobs: number }>('jobUsage', owner))?.jobs ?? 0;
  }

  /** False if its outcome stands already. */
  async enter(id: string, phase: Exclude<Phase, 'ending' | 'ended'>, state?: number): Promise<boolean> {
    return (await this.db.soon.row('setJobPhase', id, phase, state ?? null)) !== undefined;
  }

  /** It has its cluster and is PENDING; false if its outcome stands already. */
  async placed(id: string, cluster: string | undefined): Promise<boolean> {
    return (await this.db.row('setJobCluster', id, cluster ?? null)) !== undefined;
  }

  /** The cluster that was asked for under this key. */
  async clusterOf(owner: string, key: string): Promise<string | undefined> {
    return (await this.db.row<{ id: string }>('clusterByKey', owner, key))?.id;
  }

  /** The first outcome stands: true for the one who made it. */
  async finish(id: string, outcome: Outcome): Promise<boolean> {
    const reason = outcome.reason?.replaceAll('\0', '').slice(0, 4000) ?? null;
    return (await this.db.row('finishJob', id, outcome.state, outcome.failureCode, outcome.exitCode ?? null, reason)) !== undefined;
  }

  /** Its client was told at once that nothing comes of it. */
  async refuse(id: string, outcome: Outcome): Promise<void> {
    await this.finish(id, outcome);
    await this.end(id, undefined);
  }

  async end(id: string, keptUntil: Date | undefined): Promise<void> {
    await this.db.soon.rows('endJob', id, keptUntil ?? null);
  }

  async extendCommit(id: string, seconds: number): Promise<void> {
    await this.db.rows('extendCommit', id, seconds);
  }

  async committedEnd(id: string): Promise<void> {
    await this.db.soon.rows('commitJobEnd', id);
  }

  async setRequest(id: string, request: JobRequest): Promise<void> {
    await this.db.rows('updateJobRequest', id, JSON.stringify(request));
  }

  async putCallback(id: string, url: string, mask: number): Promise<void> {
    await this.db.rows('insertCallback', id, url, mask);
  }

  async callbackSent(id: string, url: string, state: number): Promise<void> {
    await this.db.soon.rows('callbackSent', id, url, state);
  }

  /** False if it was not there. */
  async dropCallback(id: string, url: string): Promise<boolean> {
    return (await this.db.soon.row('deleteCallback', id, url)) !== undefined;
  }

  async callbacks(id: string): Promise<readonly CallbackRow[]> {
    return this.db.rows<CallbackRow>('callbacks', id);
  }

  async putRunners(id: string, runners: readonly Pick<RunnerRow, 'node' | 'processes'>[]): Promise<readonly RunnerRow[]> {
    await this.db.soon.rows('insertRunners', id, runners.map(({ node }) => node), runners.map((_, position) => position), runners.map(({ processes }) => processes));
    return this.runners(id);
  }

  runners(id: string): Promise<readonly RunnerRow[]> {
    return this.db.rows<RunnerRow>('runners', id);
  }

  /** Bytes of one stream, by node, that have arrived where they should. */
  async sent(id: string, stream: 'out' | 'err', bytes: ReadonlyMap<string, number>): Promise<void> {
    await this.db.soon.rows('runnerSent', id, [...bytes.keys()], [...bytes.values()], stream);
  }

  async runnerEnded(id: string, node: string, code: number): Promise<void> {
    await this.db.soon.rows('runnerEnded', id, node, code);
  }

  /** Jobs whose kept output is older than it is kept. */
  async oldKept(): Promise<readonly string[]> {
    return (await this.db.rows<{ id: string }>('oldKept')).map(({ id }) => id);
  }

  async dropKept(id: string): Promise<void> {
    await this.db.rows('dropKept', id);
  }

  /** Those of `ids` that live or have something kept. */
  async known(ids: readonly string[]): Promise<ReadonlySet<string>> {
    return new Set((await this.db.rows<{ id: string }>('knownJobs', ids)).map(({ id }) => id));
  }
}

/** As names of clusters are: a letter, then seven of letters and digits. */
export function newJobId(): string {
  const letters = 'abcdefghijklmnopqrstuvwxyz';
  return (letters[randomInt(26)] ?? 'a') + Array.from({ length: 7 }, () => randomInt(36).toString(36)).join('');
}

export function newSecret(): string {
  return randomBytes(12).toString('hex');
}

/** "/ID/SECRET/": the path of a job's contact. */
export function pathOf(job: Pick<JobRow, 'id' | 'secret'>): string {
  return `/${job.id}/${job.secret}/`;
}

/** The two parts of such a path. */
export function readPath(path: string): { id: string; secret: string } | undefined {
  const [, id, secret] = /^\/([a-z][a-z0-9]{7})\/([0-9a-f]{24})\/$/.exec(path) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}
