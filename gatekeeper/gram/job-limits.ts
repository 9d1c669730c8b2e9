/** What GRAM jobs may take of the gatekeeper (configuration: gram.jobs). */
export interface JobLimits {
  /** Of one owner, at one time. */
  readonly jobsPerOwner: number;
  /** Bytes of one file that is staged in: the executable, stdin, others. */
  readonly stageBytes: number;
  /** Bytes of stdout, and of stderr, that the gatekeeper keeps of one job, and days that it keeps them. */
  readonly keptBytes: number;
  readonly keptDays: number;
  /** Seconds that a client's GASS server may stay away once the job has ended. */
  readonly patienceSeconds: number;
  /** Jobs that begin at the same time; more wait. */
  readonly starts: number;
}

export const usualJobLimits: JobLimits = { jobsPerOwner: 1000, stageBytes: 64 * 1024 * 1024, keptBytes: 64 * 1024 * 1024, keptDays: 7, patienceSeconds: 20, starts: 4 };
