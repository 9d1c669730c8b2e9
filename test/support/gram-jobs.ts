/** Jobs that run nothing: an in-memory GramJobs with the owner check, two-phase commit and callbacks, for tests of the wire. */
import type { Caller } from '../../src/domain/views.js';
import type { Couriers, GramJobs, JobCredential, QueryAnswer, Submission, SubmitAnswer } from '../../gatekeeper/gram/port.js';
import { codes, states } from '../../gatekeeper/gram/protocol.js';

interface Job {
  readonly owner: string;
  credential: JobCredential;
  readonly contacts: Map<string, number>;
  readonly rsl: string;
  state: number;
  failureCode: number;
  twoPhase: boolean;
}

/** RSL decides what a job does: executable /bin/sleep stays ACTIVE, /bin/false FAILS, all else is DONE at once. */
export class TestJobs implements GramJobs {
  readonly jobs = new Map<string, Job>();
  readonly submissions: Submission[] = [];
  #next = 1;

  constructor(private readonly couriers: () => Couriers) {}

  async submit(submission: Submission): Promise<SubmitAnswer> {
    this.submissions.push(submission);
    const { rsl, caller, credential, callback } = submission;
    if (credential === undefined) return { status: codes.userProxyNotFound };
    if (/"dryrun" = "yes"/.test(rsl)) return { status: codes.dryRun };
    if (/nonsense/.test(rsl)) return { status: codes.parameterNotSupported, text: 'the RSL attribute "nonsense" is not supported' };
    const path = `/job${this.#next++}/s3cret/`;
    const twoPhase = /"two_phase"/.test(rsl);
    const contacts = new Map(callback ? [[callback.url, callback.mask]] : []);
    this.jobs.set(path, { owner: caller.subject, credential, contacts, rsl, state: states.pending, failureCode: 0, twoPhase });
    return { status: twoPhase ? codes.waitingForCommit : 0, path };
  }

  submitted(path: string): void {
    const job = this.jobs.get(path);
    if (job && !job.twoPhase) void this.#run(path, job);
  }

  async status(caller: Caller, path: string): Promise<QueryAnswer> {
    return this.#with(caller, path, () => undefined);
  }

  async cancel(caller: Caller, path: string): Promise<QueryAnswer> {
    return this.#with(caller, path, (job) => {
      if (job.state !== states.done) [job.state, job.failureCode] = [states.failed, codes.userCancelled];
      void this.#tell(path, job);
    });
  }

  async register(caller: Caller, path: string, callback: { url: string; mask: number }): Promise<QueryAnswer> {
    return this.#with(caller, path, (job) => void job.contacts.set(callback.url, callback.mask));
  }

  async unregister(caller: Caller, path: string, url: string): Promise<QueryAnswer> {
    return this.#with(caller, path, (job) => (job.contacts.delete(url) ? undefined : codes.contactNotInList));
  }

  async signal(caller: Caller, path: string, signal: number, _argument: string): Promise<QueryAnswer> {
    return this.#with(caller, path, (job) => {
      if (signal === 10) return undefined;
      if (signal !== 5) return codes.unknownSignal;
      if (!job.twoPhase) return codes.notWaitingForCommit;
      job.twoPhase = false;
      void this.#run(path, job);
      return undefined;
    });
  }

  async renew(caller: Caller, path: string, credential: JobCredential): Promise<QueryAnswer> {
    return this.#with(caller, path, (job) => void (job.credential = credential));
  }

  #with(caller: Caller, path: string, work: (job: Job) => number | undefined): QueryAnswer {
    const job = this.jobs.get(path);
    if (!job) return { state: 0, failureCode: codes.jobContactNotFound, jobFailureCode: 0 };
    if (job.owner !== caller.subject) return { state: states.failed, failureCode: codes.authorizationDenied, jobFailureCode: 0 };
    const failureCode = work(job) ?? 0;
    return { state: failureCode === 0 ? job.state : states.failed, failureCode, jobFailureCode: job.failureCode, ...(job.state === states.done ? { exitCode: 0 } : {}) };
  }

  async #run(path: string, job: Job): Promise<void> {
    job.state = states.active;
    await this.#tell(path, job);
    if (job.state !== states.active || /\/bin\/sleep/.test(job.rsl)) return;
    const output = /"stdout" = \$\("GLOBUSRUN_GASS_URL"\)/.test(job.rsl) ? /"GLOBUSRUN_GASS_URL" "([^"]+)"/.exec(job.rsl)?.[1] : undefined;
    if (output !== undefined) {
      await this.couriers().append(`${output}/dev/stdout`, job.credential, pieces('hello ', 'from '));
      let left = 0;
      await this.couriers().appendPiece(`${output}/dev/stdout`, job.credential, Buffer.from('the job\n'), () => left++);
      if (left !== 1) throw new Error(`a piece left ${left} times`);
    }
    if (/\/bin\/false/.test(job.rsl)) [job.state, job.failureCode] = [states.failed, codes.executableNotFound];
    else job.state = states.done;
    await this.#tell(path, job);
  }

  async #tell(path: string, job: Job): Promise<void> {
    const told = { path, state: job.state, failureCode: job.failureCode, ...(job.failureCode > 0 ? { text: 'because "the test" said so' } : {}) };
    for (const [url, mask] of job.contacts) {
      if ((mask & job.state) === 0) continue;
      if ((await this.couriers().callback(url, job.credential, told)) === 'gone') job.contacts.delete(url);
    }
  }
}

async function* pieces(...texts: string[]): AsyncIterable<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}
