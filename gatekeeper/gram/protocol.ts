/** GRAM's own numbers: job states, signals, error codes and their standard texts (globus-gram-protocol-constants.sh). Pure. */
import { errorTexts } from './error-texts.js';

/** States of a job; a mask is their sum. */
export const states = {
  none: 0,
  pending: 1,
  active: 2,
  failed: 4,
  done: 8,
  suspended: 16,
  unsubmitted: 32,
  stageIn: 64,
  stageOut: 128,
} as const;

export const allStates = 0xfffff;

export const signals = {
  cancel: 1,
  suspend: 2,
  resume: 3,
  priority: 4,
  commitRequest: 5,
  commitExtend: 6,
  stdioUpdate: 7,
  stdioSize: 8,
  stopManager: 9,
  commitEnd: 10,
} as const;

/** The error codes that gridvc answers with, by the protocol's names. */
export const codes = {
  success: 0,
  parameterNotSupported: 1,
  noResources: 3,
  badDirectory: 4,
  executableNotFound: 5,
  authorization: 7,
  userCancelled: 8,
  systemCancelled: 9,
  protocolFailed: 10,
  stdinNotFound: 11,
  invalidCount: 14,
  jobExecutionFailed: 17,
  invalidJobType: 19,
  jobTypeNotSupported: 26,
  userProxyNotFound: 29,
  cancelFailed: 31,
  evaluationFailed: 39,
  dryRun: 41,
  stagingExecutable: 43,
  stagingStdin: 44,
  gatekeeperMisconfigured: 47,
  badRsl: 48,
  versionMismatch: 49,
  rslArguments: 50,
  rslDirectory: 52,
  rslEnvironment: 54,
  rslExecutable: 55,
  rslStderr: 63,
  rslStdin: 64,
  rslStdout: 65,
  executablePermissions: 72,
  openingStdout: 73,
  openingStderr: 74,
  contactNotInList: 78,
  contactingJobManager: 79,
  undefinedExecutable: 81,
  httpUnpackFailed: 91,
  invalidQuery: 92,
  serviceNotFound: 93,
  invalidMaxWallTime: 102,
  signalFailed: 107,
  unknownSignal: 108,
  waitingForCommit: 110,
  commitTimedOut: 111,
  rslTwoPhase: 114,
  jobManagerStopped: 130,
  proxyExpired: 131,
  notWaitingForCommit: 133,
  stageInFailed: 135,
  stageOutFailed: 155,
  jobContactNotFound: 156,
  delegationFailed: 157,
  authorizationDenied: 162,
  authorizationFailed: 163,
} as const;

/** What the standard clients print for a code. */
export function errorText(code: number): string {
  return errorTexts[code] ?? `error ${code}`;
}
