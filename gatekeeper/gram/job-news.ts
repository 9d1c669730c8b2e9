/**
 * Tells clients the states of jobs, by callbacks: those of one job in order, one after the other, and none before the
 * reply to its submission has left. A listener that is gone is struck off. What was delivered is in the rows, so that a
 * gatekeeper that starts again tells what its forerunner could not.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../../src/log.js';
import type { CallbackRow, JobRecords, JobRow } from './job-records.js';
import { pathOf } from './job-records.js';
import type { Couriers, JobCredential, JobState } from './port.js';
import { states } from './protocol.js';

/** An end that cannot be told leaves its client waiting for ever: it is tried once more. */
const againMilliseconds = 500;

/** A reply that has not left by then never will. */
const mostHeldMilliseconds = 120_000;

interface Queue {
  /** Resolves when all that was asked for has been told. */
  tail: Promise<void>;
  begin: () => void;
}

export class JobNews {
  private readonly queues = new Map<string, Queue>();

  constructor(
    private readonly records: JobRecords,
    private readonly couriers: Pick<Couriers, 'callback'>,
    private readonly log: Log,
  ) {}

  /** @param held nothing is told until `release` */
  open(id: string, held: boolean): void {
    let begin = (): void => {};
    const started = held ? new Promise<void>((resolve) => (begin = resolve)) : Promise.resolve();
    if (held) setTimeout(begin, mostHeldMilliseconds).unref();
    this.queues.set(id, { tail: started, begin });
  }

  /** The reply to its submission has left, or never will. */
  release(id: string): void {
    this.queues.get(id)?.begin();
  }

  /** Queues one state for all who want it. */
  tell(job: Pick<JobRow, 'id' | 'secret'>, credential: () => JobCredential, news: Omit<JobState, 'path'>): void {
    const queue = this.queues.get(job.id);
    if (queue === undefined || news.state === states.unsubmitted) return;
    const state: JobState = { ...news, path: pathOf(job) };
    queue.tail = queue.tail.then(() => this.send(job.id, credential, state)).catch((error: unknown) => this.log.warn({ err: error, job: job.id }, 'telling a job state failed'));
  }

  /** Resolves when everything is told. */
  async told(id: string): Promise<void> {
    await this.queues.get(id)?.tail;
  }

  close(id: string): void {
    this.queues.delete(id);
  }

  private async send(id: string, credential: () => JobCredential, state: JobState): Promise<void> {
    const rows = (await this.records.callbacks(id)).filter(({ mask, sent }) => (mask & state.state) !== 0 && sent !== state.state);
    await Promise.all(rows.map((row) => this.deliver(id, row, credential(), state)));
  }

  private async deliver(id: string, row: CallbackRow, credential: JobCredential, state: JobState): Promise<void> {
    const final = state.state === states.done || state.state === states.failed;
    let outcome = await this.couriers.callback(row.url, credential, state);
    if (outcome === 'gone' && final) {
      await sleep(againMilliseconds);
      outcome = await this.couriers.callback(row.url, credential, state);
    }
    if (outcome === 'gone') await this.records.dropCallback(id, row.url);
    else await this.records.callbackSent(id, row.url, state.state);
  }
}
