/** Waits for clusters, on behalf of jobs: until one is ready, and until one that was ready is no longer. One watch per cluster, however many jobs it has. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterRecords, OwnedRow } from '../cluster/records.js';
import { JobError } from './job-error.js';
import { codes } from './protocol.js';

const lookSeconds = 20;
const againMilliseconds = 1000;
/** A lease has ended if it was to end by now; the watch of leases looks once a second. */
const leaseSlackMilliseconds = 500;

export type ClusterEnd = 'lease' | 'destroyed' | 'failed';

interface Seen {
  readonly how: ClusterEnd;
  readonly reason: string;
}

export class ClusterWatch {
  private readonly ends = new Map<string, { promise: Promise<Seen>; users: number }>();

  constructor(
    private readonly records: ClusterRecords,
    private readonly closing: AbortSignal,
  ) {}

  /** Resolves when the cluster is ready; throws JobError when it will never be. */
  async ready(cluster: string, signal: AbortSignal): Promise<void> {
    for (;;) {
      const row = await this.look(cluster);
      const end = row === undefined ? { how: 'destroyed' as const, reason: 'it is gone' } : await this.endOf(row);
      if (end) throw failureOf(cluster, end);
      if (row?.state === 'ready') return;
      await this.news(cluster, row?.lastEvent ?? 0, signal);
      if (signal.aborted || this.closing.aborted) throw new Error('aborted');
    }
  }

  /** Calls `tell` when the cluster is no longer ready. @returns call it when nobody needs to know any more */
  ended(cluster: string, tell: (how: ClusterEnd, failure: JobError) => void): () => void {
    const watch = this.ends.get(cluster) ?? { promise: Promise.resolve<Seen>({ how: 'destroyed', reason: '' }), users: 0 };
    if (watch.users++ === 0) {
      this.ends.set(cluster, watch);
      watch.promise = this.untilEnd(cluster, () => watch.users > 0);
    }
    let wanted = true;
    void watch.promise.then((end) => wanted && !this.closing.aborted && tell(end.how, failureOf(cluster, end)), () => {});
    return () => {
      if (!wanted) return;
      wanted = false;
      if (--watch.users === 0 && this.ends.get(cluster) === watch) this.ends.delete(cluster);
    };
  }

  private async untilEnd(cluster: string, wanted: () => boolean): Promise<Seen> {
    for (;;) {
      const row = await this.look(cluster);
      const end = row === undefined ? undefined : await this.endOf(row);
      if (end) return end;
      await this.news(cluster, row?.lastEvent ?? 0, this.closing);
      if (!wanted() || this.closing.aborted) return new Promise(() => {}); // nobody asks any more
    }
  }

  private async endOf(row: OwnedRow): Promise<Seen | undefined> {
    if (row.state !== 'failed' && row.state !== 'destroying' && row.state !== 'destroyed') return undefined;
    if (row.state === 'failed') return { how: 'failed', reason: (await this.records.view(row.id))?.reason ?? 'no reason is known' };
    if (row.expires.getTime() <= Date.now() + leaseSlackMilliseconds) return { how: 'lease', reason: `its lease ended ${row.expires.toISOString()}` };
    return { how: 'destroyed', reason: 'it was destroyed' };
  }

  /** The database may be away for a while. */
  private async look(cluster: string): Promise<OwnedRow | undefined> {
    for (;;) {
      try {
        return await this.records.owned(cluster);
      } catch (error) {
        if (this.closing.aborted) throw error;
        await sleep(againMilliseconds, undefined, { signal: this.closing }).catch(() => {});
      }
    }
  }

  private async news(cluster: string, after: number, signal: AbortSignal): Promise<void> {
    const come = this.records.awaitEvents(cluster, after, lookSeconds).catch(() => sleep(againMilliseconds));
    await new Promise<void>((go) => {
      const wake = (): void => go();
      signal.addEventListener('abort', wake, { once: true });
      void come.then(wake).finally(() => signal.removeEventListener('abort', wake));
      if (signal.aborted) wake();
    });
  }
}

function failureOf(cluster: string, { how, reason }: Seen): JobError {
  switch (how) {
    case 'failed':
      return new JobError(codes.jobExecutionFailed, `cluster ${cluster} failed: ${reason}`);
    case 'lease':
      return new JobError(codes.systemCancelled, `cluster ${cluster} has ended: ${reason}`);
    case 'destroyed':
      return new JobError(codes.userCancelled, `cluster ${cluster} has ended: ${reason}`);
    default:
      return how satisfies never;
  }
}
