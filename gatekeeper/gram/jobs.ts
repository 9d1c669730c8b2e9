/**
 * GramJobs: every request about a job checks who asks, reads or writes rows, and returns; the work goes on in one story per
 * job (job-story.ts). A job belongs to who submitted it; a grid administrator (rule anyOwner) may ask about any.
 */
import { setMaxListeners } from 'node:events';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Caller } from '../../src/domain/views.js';
import type { Log } from '../../src/log.js';
import type { ClusterService } from '../../src/ports.js';
import type { Database } from '../../src/store/database.js';
import { openSecrets, type SecretFiles } from '../../src/store/secrets.js';
import type { Authorizer } from '../authorization/authorizer.js';
import type { Material } from '../cluster/material.js';
import type { ClusterRecords } from '../cluster/records.js';
import type { ClusterTasks } from '../cluster/tasks.js';
import { ClusterWatch } from './cluster-watch.js';
import type { Contacts } from './contact.js';
import { JobError, jobErrorOf } from './job-error.js';
import { JobNews } from './job-news.js';
import { JobRecords, newJobId, newSecret, pathOf, readPath, type JobRow } from './job-records.js';
import { readJobRequest, type JobRequest } from './job-request.js';
import { signalJob } from './job-signals.js';
import { place, tellStory, useRenewedCredential } from './job-story.js';
import { rslVariables } from './job-variables.js';
import { KeptOutput } from './kept-output.js';
import { usualJobLimits, type JobLimits } from './job-limits.js';
import { LiveJob, type JobTools, type StoredCredential } from './live-job.js';
import { NodeShells } from './node-shells.js';
import type { Couriers, GramJobs, JobCredential, QueryAnswer, Submission, SubmitAnswer } from './port.js';
import { codes, states } from './protocol.js';
import { ProgressFiles } from './progress.js';
import { Traffic, turns } from './traffic.js';

export interface GramJobsParts {
  readonly db: Database;
  /** The gatekeeper's state directory. */
  readonly home: string;
  readonly clusters: ClusterService;
  readonly clusterRecords: ClusterRecords;
  readonly tasks: Pick<ClusterTasks, 'down' | 'hub'>;
  readonly secrets: Pick<SecretFiles<Material>, 'read'>;
  readonly authorizer: Pick<Authorizer, 'check' | 'may'>;
  readonly couriers: Couriers;
  readonly contacts: Contacts;
  /** Minutes of the longest lease. */
  readonly lifetime: number;
  readonly limits?: Partial<JobLimits> | undefined;
  readonly traffic?: Traffic;
  readonly log: Log;
}

type Callback = { readonly url: string; readonly mask: number };
type Found = { readonly row: JobRow } | { readonly refused: QueryAnswer };

const sweepMilliseconds = 3600_000;

export class Jobs implements GramJobs {
  private readonly live = new Map<string, LiveJob>();
  private readonly stories = new Set<Promise<void>>();
  private sweeping: NodeJS.Timeout | undefined;

  private constructor(
    private readonly parts: GramJobsParts,
    private readonly tools: JobTools,
    private readonly closing: AbortController,
  ) {}

  /** Takes up the jobs of an earlier gatekeeper, then serves. */
  static async open(parts: GramJobsParts): Promise<Jobs> {
    const { db, home, clusters, clusterRecords, tasks, secrets, couriers, contacts, log } = parts;
    const limits = { ...usualJobLimits, ...parts.limits };
    const records = new JobRecords(db);
    const credentials = await openSecrets<StoredCredential>(join(home, 'gram', 'credentials'));
    const kept = await KeptOutput.open(home, limits.keptBytes);
    const progress = await ProgressFiles.open(home);
    const closing = new AbortController();
    setMaxListeners(0, closing.signal); // one for each living job
    const shells = new NodeShells((cluster) => tasks.hub(cluster), secrets);
    const news = new JobNews(records, couriers, log);
    const watch = new ClusterWatch(clusterRecords, closing.signal);
    const tools: JobTools = { records, clusters, clusterRecords, tasks, watch, shells, credentials, couriers, contacts, kept, progress, news, limits, closing: closing.signal, turn: turns(limits.starts, parts.traffic ?? new Traffic()), log };
    const jobs = new Jobs(parts, tools, closing);
    await jobs.resume();
    await jobs.sweep();
    jobs.sweeping = setInterval(() => void jobs.sweep().catch((error: unknown) => log.warn({ err: error }, 'sweeping kept output failed')), sweepMilliseconds).unref();
    return jobs;
  }

  async submit(submission: Submission): Promise<SubmitAnswer> {
    try {
      return await this.accept(submission);
    } catch (error) {
      const failure = jobErrorOf(error);
      if (failure === undefined) throw error;
      this.tools.log.info({ subject: submission.caller.subject, code: failure.code, reason: failure.message }, 'GRAM job refused');
      return { status: failure.code, text: failure.message };
    }
  }

  submitted(path: string): void {
    const id = readPath(path)?.id;
    if (id !== undefined) this.tools.news.release(id);
  }

  async status(caller: Caller, path: string): Promise<QueryAnswer> {
    const found = await this.find(caller, path);
    return 'refused' in found ? found.refused : answerOf(found.row);
  }

  async cancel(caller: Caller, path: string): Promise<QueryAnswer> {
    return this.change(caller, path, async (row, live) => {
      if (live === undefined || isOver(row)) return 0; // it has ended: nothing is left to cancel
      const reason = new JobError(codes.userCancelled, row.owner === caller.subject ? 'cancelled by its owner' : `cancelled by ${caller.subject}`);
      await this.tools.records.finish(row.id, { state: states.failed, failureCode: reason.code, reason: reason.message });
      live.end(reason);
      return 0;
    });
  }

  async register(caller: Caller, path: string, { url, mask }: Callback): Promise<QueryAnswer> {
    return this.change(caller, path, async (row) => {
      if (row.phase === 'ended') return codes.queryDenied;
      await this.tools.records.putCallback(row.id, url, mask);
      return 0;
    });
  }

  async unregister(caller: Caller, path: string, url: string): Promise<QueryAnswer> {
    return this.change(caller, path, async ({ id }) => ((await this.tools.records.dropCallback(id, url)) ? 0 : codes.contactNotInList));
  }

  async signal(caller: Caller, path: string, signal: number, argument: string): Promise<QueryAnswer> {
    if (signal === 1 && argument !== '') return this.cancel(caller, path);
    return this.change(caller, path, (row, live) => signalJob(this.tools, { row, live, signal, argument }));
  }

  async renew(caller: Caller, path: string, credential: JobCredential): Promise<QueryAnswer> {
    return this.change(caller, path, async (row, live) => {
      if (live === undefined || isOver(row)) return codes.queryDenied;
      if (row.owner !== caller.subject) return codes.authorizationDenied; // an administrator cannot lend a name
      await this.tools.credentials.write(row.id, stored(credential));
      live.credential = credential;
      live.renewedBy = caller;
      await useRenewedCredential(live, this.tools).catch((error: unknown) => this.tools.log.warn({ err: error, job: row.id }, 'a renewed credential could not be used everywhere'));
      return 0;
    });
  }

  /** Lets go of everything: jobs run on, and are taken up at the next start. */
  async close(): Promise<void> {
    clearInterval(this.sweeping);
    this.closing.abort();
    await Promise.allSettled(this.stories);
    this.tools.shells.close();
  }

  // ---------------------------------------------------------------- submission

  private async accept({ caller, credential, rsl, service, callback }: Submission): Promise<SubmitAnswer> {
    this.parts.authorizer.check(caller, 'submitJob');
    if (credential === undefined) throw new JobError(codes.userProxyNotFound, 'no proxy was delegated');
    const [id, secret] = [newJobId(), newSecret()];
    const request = readJobRequest(rsl, { variables: rslVariables({ id, secret, caller }, this.tools.contacts), account: caller.account, lifetime: this.parts.lifetime });
    await this.check(caller, request);
    if (request.dryRun) return { status: codes.dryRun };

    const standing = request.place.kind === 'standing' && request.twoPhase === undefined ? request.place.cluster : undefined;
    const phase = request.twoPhase !== undefined ? 'uncommitted' : standing !== undefined ? 'waiting' : 'arriving';
    const commitBy = request.twoPhase === undefined ? undefined : new Date(Date.now() + request.twoPhase * 1000);
    await Promise.all([
      this.tools.credentials.write(id, stored(credential)),
      this.tools.records.insert({ id, secret, caller, service, rsl, request, phase, ...(standing === undefined ? {} : { cluster: standing }), ...(commitBy ? { commitBy } : {}), ...(callback ? { callback } : {}) }),
    ]);
    const row: JobRow = { id, secret, owner: caller.subject, caller, request, state: states.unsubmitted, failureCode: 0, exitCode: null, reason: null, cluster: standing ?? null, phase, commitBy: commitBy ?? null, started: null, finished: null, keptUntil: null };
    const live = new LiveJob(row, credential, this.closing.signal);
    this.tools.news.open(id, true);
    if (phase === 'waiting') this.tools.news.tell(row, () => live.credential, { state: states.pending, failureCode: 0 });
    if (phase === 'arriving') await this.placeNow(live);
    this.begin(live);
    return { status: phase === 'uncommitted' ? codes.waitingForCommit : 0, path: pathOf(row) };
  }

  /** What can be refused before anything is stored; a cluster's own refusals come from createCluster. */
  private async check(caller: Caller, { place: where, program, dryRun }: JobRequest): Promise<void> {
    if (where.kind === 'standing') {
      const view = await this.parts.clusters.getCluster(caller, where.cluster);
      if (view.state === 'failed' || view.state === 'destroying' || view.state === 'destroyed') throw new JobError(codes.noResources, `cluster ${view.id} is ${view.state}`);
      if (view.owner !== caller.subject) throw new JobError(codes.authorization, `cluster ${view.id} belongs to ${view.owner}`);
    } else if (where.kind === 'new' && dryRun) {
      await this.parts.clusters.plan(caller, { attributes: new Map(where.attributes), files: where.files });
    }
    const running = program === undefined ? 0 : await this.tools.records.count(caller.subject);
    if (running >= this.tools.limits.jobsPerOwner) throw new JobError(codes.noResources, `you have ${running} jobs that have not ended; at most ${this.tools.limits.jobsPerOwner} are allowed`);
  }

  /** A cluster that is refused ends the job before its client has a contact. */
  private async placeNow(live: LiveJob): Promise<void> {
    try {
      await place(live, this.tools);
    } catch (error) {
      const failure = jobErrorOf(error) ?? new JobError(codes.jobExecutionFailed, `internal error, reference ${live.id}`);
      await this.tools.records.refuse(live.id, { state: states.failed, failureCode: failure.code, reason: failure.message });
      await this.tools.credentials.remove(live.id);
      this.tools.news.close(live.id);
      live.over();
      throw error;
    }
  }

  private begin(live: LiveJob): void {
    this.live.set(live.id, live);
    const story = tellStory(live, this.tools).finally(() => {
      live.progress?.close();
      this.live.delete(live.id);
      this.stories.delete(story);
    });
    this.stories.add(story);
  }

  // ---------------------------------------------------------------- queries

  private async find(caller: Caller, path: string): Promise<Found> {
    const asked = readPath(path);
    const row = asked && (await this.tools.records.job(asked.id));
    if (row === undefined || row.secret !== asked?.secret) return { refused: { state: states.none, failureCode: codes.jobContactNotFound, jobFailureCode: 0 } };
    if (row.owner === caller.subject || this.parts.authorizer.may(caller, 'anyOwner')) return { row };
    this.tools.log.info({ job: row.id, owner: row.owner, subject: caller.subject }, 'a query of a job of another owner was refused');
    return { refused: { state: states.failed, failureCode: codes.authorizationDenied, jobFailureCode: 0 } };
  }

  /** Does it if the caller may, then answers with the state there is; a code other than 0 is that of the query. */
  private async change(caller: Caller, path: string, work: (row: JobRow, live: LiveJob | undefined) => Promise<number>): Promise<QueryAnswer> {
    const found = await this.find(caller, path);
    if ('refused' in found) return found.refused;
    try {
      const code = await work(found.row, this.live.get(found.row.id));
      if (code !== 0) return { state: states.failed, failureCode: code, jobFailureCode: 0 };
    } catch (error) {
      const failure = jobErrorOf(error);
      if (failure === undefined) throw error;
      return { state: states.failed, failureCode: failure.code, jobFailureCode: 0, text: failure.message };
    }
    return answerOf((await this.tools.records.job(found.row.id)) ?? found.row);
  }

  // ---------------------------------------------------------------- from one run to the next

  private async resume(): Promise<void> {
    for (const id of await this.tools.records.living()) {
      const [row, credential] = await Promise.all([this.tools.records.job(id), this.tools.credentials.read(id)]);
      if (row === undefined) continue;
      const live = new LiveJob(row, credential ? { ...credential, notAfter: new Date(credential.notAfter) } : noCredential, this.closing.signal);
      if (credential === undefined && !isOver(row)) live.end(new JobError(codes.userProxyNotFound, 'the delegated proxy is gone from the gatekeeper'));
      this.tools.news.open(id, false);
      this.begin(live);
    }
  }

  /** Removes output that was kept long enough, and files of jobs that a crash left. */
  private async sweep(): Promise<void> {
    const { records, kept, progress, log } = this.tools;
    for (const id of await records.oldKept()) await records.dropKept(id);
    const credentials = join(this.parts.home, 'gram', 'credentials');
    const [keptNow, files, noted] = await Promise.all([kept.jobs(), readdir(credentials), progress.jobs()]);
    const mine = new Set(this.live.keys());
    const known = await records.known([...new Set([...keptNow, ...files.map((file) => file.slice(0, 8)), ...noted])]);
    for (const id of keptNow.filter((each) => !known.has(each) && !mine.has(each))) await kept.remove(id);
    for (const file of files.filter((each) => !known.has(each.slice(0, 8)) && !mine.has(each.slice(0, 8)))) await rm(join(credentials, file), { force: true });
    for (const id of noted.filter((each) => !mine.has(each))) progress.remove(id);
    log.debug({ kept: keptNow.length }, 'swept');
  }
}

const noCredential: JobCredential = { chain: '', key: '', notAfter: new Date(0), limited: true };

function stored({ chain, key, notAfter, limited }: JobCredential): StoredCredential {
  return { chain, key, limited, notAfter: notAfter.toISOString() };
}

function isOver({ state }: Pick<JobRow, 'state'>): boolean {
  return state === states.done || state === states.failed;
}

function answerOf(row: JobRow): QueryAnswer {
  const exit = row.state === states.done && row.exitCode !== null ? { exitCode: row.exitCode } : {};
  return { state: row.state, failureCode: 0, jobFailureCode: row.failureCode, ...exit, ...(row.reason === null ? {} : { text: row.reason }) };
}
