/** Signals to jobs (GRAM5.md 6.8), as the original answers them. Cancel is in jobs.ts. */
import { JobError } from './job-error.js';
import type { JobRow } from './job-records.js';
import { readStdioUpdate, type Program } from './job-request.js';
import { sinkOf } from './job-staging.js';
import { rslVariables } from './job-variables.js';
import type { JobTools, LiveJob } from './live-job.js';
import { codes, signals, states } from './protocol.js';

export interface Signal {
  readonly row: JobRow;
  /** Undefined once the job has ended. */
  readonly live: LiveJob | undefined;
  readonly signal: number;
  readonly argument: string;
}

/** The code of the query, 0 if it was done. */
export async function signalJob(tools: JobTools, { row, live, signal, argument }: Signal): Promise<number> {
  const over = row.state === states.done || row.state === states.failed;
  switch (signal) {
    case signals.commitRequest:
      if (row.request.twoPhase === undefined) return codes.notWaitingForCommit;
      if (over) return codes.queryDenied;
      live?.commit();
      return 0;
    case signals.commitExtend:
      return extendCommit(tools, row, live, argument);
    case signals.commitEnd:
      if (row.request.twoPhase === undefined) return codes.notWaitingForCommit;
      if (!over) return codes.queryDenied;
      await tools.records.committedEnd(row.id);
      return 0;
    case signals.stdioUpdate:
      if (argument === '') return codes.httpUnpackFailed;
      if (over || live === undefined) return codes.queryDenied;
      return updateStdio(tools, live, argument);
    case signals.stdioSize:
      return checkSizes(tools, row, live, argument);
    case signals.cancel:
      return codes.httpUnpackFailed; // it needs an argument
    case signals.suspend:
    case signals.resume:
    case signals.priority:
      return over ? codes.queryDenied : codes.signalFailed; // nothing here has a queue to hold it in
    case signals.stopManager:
      return codes.queryDenied; // there is no job manager of its own to stop
    default:
      return codes.unknownSignal;
  }
}

async function extendCommit(tools: JobTools, row: JobRow, live: LiveJob | undefined, argument: string): Promise<number> {
  if (!/^\d{1,6}$/.test(argument.trim())) return codes.httpUnpackFailed;
  if (row.request.twoPhase === undefined) return codes.notWaitingForCommit;
  if (live?.row.phase !== 'uncommitted' || live.row.commitBy === null) return 0; // as the original: too late does no harm
  const seconds = Number(argument.trim());
  await tools.records.extendCommit(row.id, seconds);
  live.row = { ...live.row, commitBy: new Date(live.row.commitBy.getTime() + seconds * 1000) };
  return 0;
}

/** New destinations for streams that have one; what has not arrived goes to the new ones. */
async function updateStdio(tools: JobTools, live: LiveJob, rsl: string): Promise<number> {
  const { request } = live.row;
  if (request.program === undefined) return codes.queryDenied;
  const update = readStdioUpdate(rsl, rslVariables(live.row, tools.contacts));
  for (const [name, stream] of [['stdout', 'out'], ['stderr', 'err']] as const) {
    const destinations = update[name];
    if (destinations === undefined) continue;
    if (request.program[name].length === 0 || destinations.some(({ kind }) => kind === 'node' || kind === 'kept')) throw new JobError(codes.invalidStdioUpdate, `${name} can be sent from one GASS URL to another, and not otherwise, while the job runs`);
    const outlet = live.outlets.get(stream);
    const sinks = (await Promise.all(destinations.map((to) => sinkOf(live, tools, to, { name, total: outlet?.delivered ?? 0 })))).flat();
    if (outlet === undefined ? sinks.length > 0 : sinks.length === 0) throw new JobError(codes.invalidStdioUpdate, `${name} cannot change between a stream (/dev/stdout) and a file while the job runs`);
    outlet?.redirect(sinks);
  }
  const program: Program = { ...request.program, ...update };
  live.row = { ...live.row, request: { ...request, program } };
  await tools.records.setRequest(live.id, live.row.request);
  return 0;
}

/** Has the client got all that was sent? "OUT ERR", -1 for what it does not care about. */
async function checkSizes(tools: JobTools, row: JobRow, live: LiveJob | undefined, argument: string): Promise<number> {
  const wanted = /^(-?\d{1,15})(?:\s+(-?\d{1,15}))?\s*$/.exec(argument);
  if (!wanted) return codes.httpUnpackFailed;
  if (live && [...live.outlets.values()].some(({ busy }) => busy)) return codes.stillStreaming;
  const rows = await tools.records.runners(row.id);
  const sizes = [rows.reduce((sum, { outSent }) => sum + outSent, 0), rows.reduce((sum, { errSent }) => sum + errSent, 0)];
  return [wanted[1], wanted[2]].every((text, i) => text === undefined || Number(text) < 0 || Number(text) === sizes[i]) ? 0 : codes.stdioSize;
}
