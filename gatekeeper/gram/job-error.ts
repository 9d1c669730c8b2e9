/** Failures of jobs: a GRAM code and a text for people. The one place where kinds of GridError become codes. */
import { isGridError, type GridError } from '../../src/domain/error.js';
import { codes } from './protocol.js';

/** Ends a submission or a job; never leaves gatekeeper/gram. */
export class JobError extends Error {
  constructor(
    readonly code: number,
    text: string,
  ) {
    super(text);
    this.name = 'JobError';
  }
}

/** Code and text of whatever ended a job; undefined for what is no failure of the job's but a bug. */
export function jobErrorOf(error: unknown): JobError | undefined {
  if (error instanceof JobError) return error;
  return isGridError(error) ? new JobError(codeOf(error), textOf(error)) : undefined;
}

function textOf(error: GridError): string {
  return error.hint === undefined ? error.message : `${error.message} (${error.hint})`;
}

/** What a refusal of the cluster's services is in GRAM. */
function codeOf(error: GridError): number {
  switch (error.kind) {
    case 'bad-request':
    case 'too-large':
    case 'conflict':
      return codes.badRsl;
    case 'not-authenticated':
    case 'not-authorized':
      return codes.authorization;
    case 'quota':
    case 'no-capacity':
    case 'not-found':
    case 'wrong-state':
    case 'disk-full':
      return codes.noResources;
    case 'interrupted':
      return codes.systemCancelled;
    case 'unavailable':
    case 'timeout':
    case 'build-failed':
    case 'internal':
      return codes.jobExecutionFailed;
    default:
      return error.kind satisfies never;
  }
}
