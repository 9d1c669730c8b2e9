/** A job that has not ended, in memory: what its story works with, and what queries of it change. */
import { setMaxListeners } from 'node:events';
import type { Log } from '../../src/log.js';
import type { Caller } from '../../src/domain/views.js';
import type { ClusterService } from '../../src/ports.js';
import type { SecretFiles } from '../../src/store/secrets.js';
import type { ClusterRecords } from '../cluster/records.js';
import type { ClusterTasks } from '../cluster/tasks.js';
import type { ClusterWatch } from './cluster-watch.js';
import type { Contacts } from './contact.js';
import type { JobError } from './job-error.js';
import type { JobLimits } from './job-limits.js';
import type { JobNews } from './job-news.js';
import type { JobRecords, JobRow } from './job-records.js';
import type { KeptOutput } from './kept-output.js';
import type { NodeShells } from './node-shells.js';
import type { Outlet } from './output.js';
import type { Couriers, JobCredential } from './port.js';
import type { Progress, ProgressFiles } from './progress.js';

/** As kept in a file: a date becomes text. */
export type StoredCredential = Omit<JobCredential, 'notAfter'> & { readonly notAfter: string };

/** What all jobs share. */
export interface JobTools {
  readonly records: JobRecords;
  readonly clusters: ClusterService;
  readonly clusterRecords: ClusterRecords;
  readonly tasks: Pick<ClusterTasks, 'down'>;
  readonly watch: ClusterWatch;
  readonly shells: NodeShells;
  readonly credentials: SecretFiles<StoredCredential>;
  readonly couriers: Couriers;
  readonly contacts: Contacts;
  readonly kept: KeptOutput;
  readonly progress: ProgressFiles;
  readonly news: JobNews;
  readonly limits: JobLimits;
  /** Aborted at the gatekeeper's end: stories stop where they are, and go on at the next start. */
  readonly closing: AbortSignal;
  /** Runs what it is given when it is its turn. */
  readonly turn: <T>(work: () => Promise<T>) => Promise<T>;
  readonly log: Log;
}

export class LiveJob {
  readonly id: string;
  readonly outlets = new Map<'out' | 'err', Outlet>();
  progress: Progress | undefined;
  cluster: string | undefined;
  /** Why it ends before its time. */
  ending: JobError | undefined;
  /** Who renewed its credential last: a lease that could not be lengthened then is when the cluster is ready. */
  renewedBy: Caller | undefined;
  private readonly stop = new AbortController();
  private readonly commits = new AbortController();

  constructor(
    public row: JobRow,
    /** Replaced by a renewal. */
    public credential: JobCredential,
    closing: AbortSignal,
  ) {
    this.id = row.id;
    this.cluster = row.cluster ?? undefined;
    setMaxListeners(0, this.stop.signal); // one for each node that is waited for
    const onClose = (): void => this.stop.abort();
    if (closing.aborted) onClose();
    closing.addEventListener('abort', onClose, { once: true });
    this.signal.addEventListener('abort', () => closing.removeEventListener('abort', onClose), { once: true });
  }

  /** Aborted when the job is to end, and when the gatekeeper does. */
  get signal(): AbortSignal {
    return this.stop.signal;
  }

  /** Aborted when the client has committed. */
  get committed(): AbortSignal {
    return this.commits.signal;
  }

  commit(): void {
    this.commits.abort();
  }

  /** Ends it; the first reason counts. */
  end(reason: JobError): void {
    this.ending ??= reason;
    this.stop.abort();
  }

  /** Lets go of listeners once the story is over. */
  over(): void {
    this.stop.abort();
  }
}

/** Rejects as soon as the signal is aborted, else as the work does; what is left of the work ends by itself. */
export function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const stop = (): void => reject(new Error('aborted'));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
