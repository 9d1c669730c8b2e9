/**
 * A job's program on its nodes: sent, started, watched until it ends, killed, cleaned up. The runner there goes on whatever
 * becomes of us (job-scripts.ts); a connection that breaks off is made again and goes on at the byte that is missing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Readable } from 'node:stream';
import { GridError } from '../../src/domain/error.js';
import { proxyText } from './delegation.js';
import { JobError } from './job-error.js';
import type { Layout, SentFile } from './job-layout.js';
import { packFiles } from './job-layout.js';
import type { JobRequest, Program } from './job-request.js';
import { cleanLine, followLine, killLine, prepareLine, renewLine, runScript, startLine, type Offsets } from './job-scripts.js';
import { unlessAborted, type JobTools, type LiveJob } from './live-job.js';
import type { NodeCommand } from './node-shells.js';
import { codes } from './protocol.js';

/** A node that does not answer for so long has lost its job. */
const lostSeconds = 120;
const pauses = { first: 200, most: 5000 };
const mostHeader = 4096;
const tidySeconds = 15;

/** One runner that is being watched. */
export interface Attendance {
  readonly node: string;
  /** The program runs, or has run. */
  readonly started: Promise<void>;
  /** Its exit code. */
  readonly ended: Promise<number>;
}


/** What every node of the job gets, and the script for its runner. */
export async function packageFor(live: LiveJob, tools: JobTools, job: { program: Program; layout: Layout; staged: readonly SentFile[] }, processes: number): Promise<Uint8Array> {
  const { program, layout, staged } = job;
  const script = runScript({ job: live.id, program, processes, environment: environmentOf(live, tools, program), crowded: layout.crowded });
  const text = (name: string, mode: number, content: string): SentFile => ({ name, mode, bytes: Buffer.from(content) });
  return packFiles([
    text('proxy', 0o600, proxyText(live.credential)),
    text('run', 0o700, script),
    text('hosts', 0o600, layout.hosts),
    ...(program.remoteIoUrl === undefined ? [] : [text('remote_io_url', 0o600, `${program.remoteIoUrl}\n`)]),
    ...staged,
  ]);
}

/** As the original gives them to jobs, and whose job it is. */
function environmentOf(live: LiveJob, tools: JobTools, program: Program): [string, string][] {
  const directory = `/home/grid/.gridvc/${live.id}`;
  return [
    ['X509_USER_PROXY', `${directory}/proxy`],
    ['GLOBUS_GRAM_JOB_CONTACT', tools.contacts.of(`/${live.row.id}/${live.row.secret}/`)],
    ['GLOBUS_LOCATION', '/usr'],
    ['GRIDVC_CLUSTER', live.cluster ?? ''],
    ...(program.scratch ? [['SCRATCH_DIRECTORY', `${directory}/scratch`] as [string, string]] : []),
    ...(program.remoteIoUrl === undefined ? [] : [['GLOBUS_REMOTE_IO_URL', `${directory}/remote_io_url`] as [string, string]]),
  ];
}

/** Sends the files to a node that gets no runner. */
export async function prepareNode(live: LiveJob, tools: JobTools, node: string, files: Uint8Array): Promise<void> {
  const { stdout } = await unlessAborted(live.signal, tools.shells.run(clusterOf(live), node, prepareLine(live.id), files));
  if (stdout.trim() !== 'ready') throw refusal(stdout.trim(), node);
}

/** Starts the runner of a node, or finds it running, and stays with it. @param files undefined: it was started before */
export function attend(live: LiveJob, tools: JobTools, node: string, files: Uint8Array | undefined): Attendance {
  let begun = (): void => {};
  const running = new Promise<void>((resolve) => (begun = resolve));
  const ended = watchRunner(live, tools, { node, files, begun });
  const started = Promise.race([running, ended.then(() => {})]);
  started.catch(() => {});
  ended.catch(() => {});
  return { node, started, ended };
}

async function watchRunner(live: LiveJob, tools: JobTools, runner: { node: string; files: Uint8Array | undefined; begun: () => void }): Promise<number> {
  const { node } = runner;
  let files = runner.files;
  let since: number | undefined;
  for (let pause = pauses.first; ; pause = Math.min(pause * 2, pauses.most)) {
    try {
      const line = files === undefined ? followLine(live.id, offsets(live, node)) : startLine(live.id, offsets(live, node));
      const starting = tools.shells.start(clusterOf(live), node, line, files);
      const command = await unlessAborted(live.signal, starting).catch((error: unknown) => {
        void starting.then((late) => late.close(), () => {});
        throw error;
      });
      const code = await follow(live, command, node, () => {
        files = undefined; // from now on it is only followed
        since = undefined;
        pause = pauses.first;
        runner.begun();
      });
      if (code !== undefined) return code;
    } catch (error) {
      if (error instanceof JobError || live.signal.aborted || !(error instanceof GridError)) throw error;
    }
    since ??= Date.now();
    if (Date.now() - since > lostSeconds * 1000) throw new JobError(codes.jobExecutionFailed, `node ${node} has not answered for ${lostSeconds} s; what became of the program is not known`);
    await sleep(pause, undefined, { signal: live.signal });
  }
}

function offsets(live: LiveJob, node: string): Offsets {
  return { out: live.outlets.get('out')?.have(node), err: live.outlets.get('err')?.have(node) };
}

/** Reads one command to its end: the exit code of the program, or undefined if the connection broke off. */
async function follow(live: LiveJob, command: NodeCommand, node: string, onRunning: () => void): Promise<number | undefined> {
  const close = (): void => command.close();
  live.signal.addEventListener('abort', close, { once: true });
  try {
    const reading = Promise.all([readOutput(live, command.stdout, node, onRunning), readErrors(live, command.stderr, node)]);
    reading.catch(close); // refused: nothing more is wanted of it
    const [[lost], end] = await unlessAborted(live.signal, Promise.all([reading, command.ended]));
    if (lost || end.signal !== undefined) throw new JobError(codes.jobExecutionFailed, `the program on ${node} is lost: its runner was killed, or its files are gone`);
    return end.code;
  } finally {
    live.signal.removeEventListener('abort', close);
  }
}

/** The first line says how it is; the rest is output. @returns true if there is no such job on the node */
async function readOutput(live: LiveJob, stream: Readable, node: string, onRunning: () => void): Promise<boolean> {
  const outlet = live.outlets.get('out');
  let header: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of unbroken(stream)) {
    if (header === undefined) {
      await outlet?.take(node, chunk);
      continue;
    }
    header = Buffer.concat([header, chunk]);
    const end = header.indexOf(0x0a);
    if (end < 0 && header.length < mostHeader) continue;
    const first = header.subarray(0, end < 0 ? mostHeader : end).toString('utf8');
    if (first === 'lost') return true;
    if (first !== 'running') throw refusal(first, node);
    onRunning();
    await outlet?.take(node, header.subarray(end + 1));
    header = undefined;
  }
  return false;
}

async function readErrors(live: LiveJob, stream: Readable, node: string): Promise<void> {
  const outlet = live.outlets.get('err');
  for await (const chunk of unbroken(stream)) await outlet?.take(node, chunk);
}

/** The bytes of a stream until it ends or breaks off: which it was, the command's end says. */
async function* unbroken(stream: Readable): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch {
    // broke off
  }
}

/** "refused CODE TEXT" */
function refusal(line: string, node: string): JobError {
  const [, code, text] = /^refused (\d{1,3}) (.*)$/.exec(line) ?? [];
  return code === undefined ? new JobError(codes.jobExecutionFailed, `node ${node} did not start the program: ${JSON.stringify(line.slice(0, 200))}`) : new JobError(Number(code), `${text ?? ''} (on ${node})`);
}

/** Ends every process of the job on its nodes; those that do not answer are left to the end of their cluster. */
export async function killProcesses(live: LiveJob, tools: JobTools, nodes: readonly string[]): Promise<void> {
  await onAll(live, tools, nodes, killLine(live.id));
}

/** Removes what the job left on the nodes. */
export async function cleanNodes(live: LiveJob, tools: JobTools, nodes: readonly string[], request: JobRequest): Promise<void> {
  const { directory, cleanUp = [] } = request.program ?? {};
  await onAll(live, tools, nodes, cleanLine(live.id, directory, cleanUp));
}

/** The new credential for the processes that run. */
export async function renewProxies(live: LiveJob, tools: JobTools, nodes: readonly string[]): Promise<void> {
  await onAll(live, tools, nodes, renewLine(live.id), Buffer.from(proxyText(live.credential)));
}

async function onAll(live: LiveJob, tools: JobTools, nodes: readonly string[], line: string, input?: Uint8Array): Promise<void> {
  const cluster = clusterOf(live);
  await Promise.all(
    nodes.map(async (node) => {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, reject) => (timer = setTimeout(() => reject(new GridError('timeout', `no end within ${tidySeconds} s`)), tidySeconds * 1000)));
      await Promise.race([tools.shells.run(cluster, node, line, input), late])
        .catch((error: unknown) => tools.log.info({ job: live.id, cluster, node, reason: (error as Error).message }, 'a node could not be reached for a job'))
        .finally(() => clearTimeout(timer));
    }),
  );
}

function clusterOf(live: LiveJob): string {
  if (live.cluster === undefined) throw new GridError('internal', `job ${live.id} has no cluster`);
  return live.cluster;
}
