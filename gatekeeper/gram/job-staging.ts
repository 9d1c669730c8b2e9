/** Files of a job between its client and its nodes: in before it starts, out when it has ended. */
import { setTimeout as sleep } from 'node:timers/promises';
import { GridError, isGridError } from '../../src/domain/error.js';
import { JobError } from './job-error.js';
import type { Destination, Source } from './job-files.js';
import type { SentFile } from './job-layout.js';
import type { RunnerRow } from './job-records.js';
import type { Program } from './job-request.js';
import { readLine } from './job-scripts.js';
import { unlessAborted, type JobTools, type LiveJob } from './live-job.js';
import { Outlet, type Sink } from './output.js';
import type { JobCredential } from './port.js';
import { codes } from './protocol.js';

const retryMilliseconds = 500;
const stageTries = 3;

/** True if something has to be fetched before the program can start. */
export function stagesIn({ executable, stdin, stageIn }: Program): boolean {
  return executable.kind === 'gass' || stdin?.kind === 'gass' || stageIn.length > 0;
}

/** True if something is sent when it has ended. */
export function stagesOut({ stdout, stderr, stageOut }: Program): boolean {
  return stageOut.length > 0 || [...stdout, ...stderr].some(({ kind }) => kind === 'file');
}

/** Fetches what the program needs from its client; throws JobError 43, 44 or 135 by what is missing. */
export async function stageIn(live: LiveJob, tools: JobTools, program: Program): Promise<readonly SentFile[]> {
  const wanted = [
    ...ofSource(program.executable, { name: 'program', mode: 0o700, code: codes.stagingExecutable }),
    ...ofSource(program.stdin, { name: 'stdin', mode: 0o600, code: codes.stagingStdin }),
    ...program.stageIn.map(({ url }, i) => ({ url, name: `in/${i}`, mode: 0o600, code: codes.stageInFailed })),
  ];
  const files: SentFile[] = [];
  for (const { url, name, mode, code } of wanted) files.push({ name, mode, bytes: await fetchFile(live, tools, url, code) });
  return files;
}

function ofSource(source: Source | undefined, as: { name: string; mode: number; code: number }): { url: string; name: string; mode: number; code: number }[] {
  return source?.kind === 'gass' ? [{ url: source.url, ...as }] : [];
}

async function fetchFile(live: LiveJob, tools: JobTools, url: string, code: number): Promise<Uint8Array> {
  for (let tries = 1; ; tries++) {
    try {
      return await unlessAborted(live.signal, tools.couriers.read(url, live.credential, tools.limits.stageBytes));
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      if (tries === stageTries || isGridError(error, 'not-found') || isGridError(error, 'bad-request')) throw new JobError(code, `${shown(url)} could not be read: ${error.message}`);
      await sleep(retryMilliseconds * tries, undefined, { signal: live.signal });
    }
  }
}

/** Ways for the program's output, as far as it is wanted while it runs; taken up where the rows say. */
export async function openOutlets(live: LiveJob, tools: JobTools, program: Program, rows: readonly RunnerRow[]): Promise<void> {
  live.progress ??= tools.progress.of(live.id);
  const { progress } = live;
  for (const [stream, name, destinations] of [['out', 'stdout', program.stdout], ['err', 'stderr', program.stderr]] as const) {
    const sent = progress.since(stream, new Map(rows.map((row) => [row.node, stream === 'out' ? row.outSent : row.errSent])));
    const total = [...sent.values()].reduce((sum, bytes) => sum + bytes, 0);
    const sinks = (await Promise.all(destinations.map((to) => sinkOf(live, tools, to, { name, total })))).flat();
    if (sinks.length === 0) continue;
    live.outlets.set(stream, new Outlet({ sinks, sent, note: (bytes) => progress.note(stream, bytes), save: (bytes) => tools.records.sent(live.id, stream, bytes), signal: live.signal, patienceSeconds: tools.limits.patienceSeconds }));
  }
}

/** None for what is written on the node itself, or sent whole at the end. */
export async function sinkOf(live: LiveJob, tools: JobTools, to: Destination, { name, total }: { name: 'stdout' | 'stderr'; total: number }): Promise<Sink[]> {
  if (to.kind === 'kept') return [await tools.kept.sink(live.id, name, total)];
  if (to.kind !== 'stream') return [];
  return [{ name: shown(to.url), write: (bytes, left) => tools.couriers.appendPiece(to.url, live.credential, bytes, left) }];
}

/** Sends output that is wanted as a file, then the files of file_stage_out. Throws JobError 155. */
export async function stageOut(live: LiveJob, tools: JobTools, program: Program, nodes: readonly string[]): Promise<void> {
  const files = (['stdout', 'stderr'] as const).flatMap((name) => program[name].flatMap((to) => (to.kind === 'file' ? [{ url: to.url, path: name === 'stdout' ? 'out' : 'err', from: nodes }] : [])));
  const others = program.stageOut.map((pair) => ({ ...pair, from: nodes.slice(0, 1) }));
  for (const file of [...files, ...others]) await sendFile(live, tools, program, file);
}

async function sendFile(live: LiveJob, tools: JobTools, program: Program, file: { url: string; path: string; from: readonly string[] }): Promise<void> {
  const deadline = Date.now() + tools.limits.patienceSeconds * 1000;
  for (;;) {
    try {
      return await unlessAborted(live.signal, tools.couriers.append(file.url, live.credential, contents(live, tools, program, file)));
    } catch (error) {
      if (error instanceof JobError) throw error;
      if (!(error instanceof GridError)) throw error;
      if (isGridError(error, 'bad-request') || Date.now() > deadline) throw lateError(live.credential, `${shown(file.url)} could not be written: ${error.message}`);
      await sleep(retryMilliseconds, undefined, { signal: live.signal });
    }
  }
}

/** The file as it is on each node, one after the other. */
async function* contents(live: LiveJob, tools: JobTools, program: Program, { path, from }: { path: string; from: readonly string[] }): AsyncGenerator<Uint8Array> {
  for (const node of from) {
    const command = await tools.shells.start(live.cluster ?? '', node, readLine(live.id, program.directory, path));
    for await (const chunk of command.stdout) yield chunk as Buffer;
    const { code, signal } = await command.ended;
    if (code === undefined && signal === undefined) throw new GridError('unavailable', `the ssh connection to ${node} broke off`);
    if (code !== 0) throw new JobError(codes.stageOutFailed, `${path} cannot be read on ${node}`);
  }
}

/** Output did not arrive: because the proxy has ended, or for another reason. */
export function lateError(credential: JobCredential, text: string): JobError {
  if (credential.notAfter.getTime() <= Date.now()) return new JobError(codes.proxyExpired, `${text}; the delegated proxy ended ${credential.notAfter.toISOString()}: renew it in time with globusrun -y`);
  return new JobError(codes.stageOutFailed, text);
}

function shown(url: string): string {
  return url.length > 200 ? `${url.slice(0, 197)}...` : url;
}
