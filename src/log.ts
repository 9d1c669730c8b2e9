/** JSON lines on standard error, one process one logger. Keys, certificates' keys and passwords are never logged. */
import pino, { type Logger } from 'pino';

export type Log = Logger;

/** @param part "gatekeeper", "head/<site>", "cli"; the level comes from configuration, default info. */
export function makeLog(part: string, level = 'info'): Log {
  return pino(
    { level, base: { part }, timestamp: pino.stdTimeFunctions.isoTime, redact: { paths: ['key', '*.key', 'hostKey', '*.hostKey', 'clusterKey', '*.clusterKey'], censor: '(secret)' } },
    pino.destination({ dest: 2, sync: true }),
  );
}
