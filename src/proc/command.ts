/**
 * Runs commands: the only importer of node:child_process. Rules: argv only, never a shell string;
 * LC_ALL=C and a fixed PATH; every child leads its own process group, so that TERM, and KILL two
 * seconds later, reach all it started; output is bounded; the result is a value with a reason
 * ready to show.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { Duplex, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GridError } from '../domain/error.js';
import type { CommandResult, RunOptions } from '../ports.js';
import { BoundedText, LineCutter, lastLine } from './output.js';

export const commandPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const outputLimit = 8 * 1024 * 1024;
const killAfterMs = 2000;
/** A grandchild may keep our pipes open after the child's end; we wait this long for the rest of the output. */
const drainMs = 500;

export interface CommandOptions extends RunOptions {
  readonly cwd?: string;
  /** Added to the fixed environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
}

/**
 * Runs `argv` to its end. Never throws for a non-zero exit, a missing program (code 127) or the deadline
 * (code undefined); rejects with `interrupted` once `signal` is aborted and the whole group is gone.
 */
export async function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const seconds = options.seconds ?? 60;
  const started = performance.now();
  const out = new BoundedText(outputLimit);
  const err = new BoundedText(outputLimit);
  refuseIfAborted(argv, options.signal);
  const child = launch(argv, options, 'pipe');
  const ended = childEnd(child);
  const deadline = setTimeout(() => endGroup(child, ended), seconds * 1000);
  const onAbort = (): void => endGroup(child, ended);
  options.signal?.addEventListener('abort', onAbort, { once: true });
  try {
    child.stdout?.on('data', (chunk: Buffer) => out.add(chunk));
    child.stderr?.on('data', (chunk: Buffer) => err.add(chunk));
    const feeding = feed(child, options.input);
    const end = await ended;
    await drained(child);
    const inputError = await feeding;
    const elapsed = (performance.now() - started) / 1000;
    refuseIfAborted(argv, options.signal);
    const stderr = err.text();
    const late = end.code === undefined && elapsed >= seconds;
    const reason = late ? `${argv[0]} did not finish within ${seconds} s` : explain(argv, end, stderr) || (inputError ? `${argv[0]}: reading its input failed: ${inputError}` : '');
    return { argv, code: inputError && end.code === 0 ? undefined : end.code, stdout: out.text(), stderr, seconds: elapsed, reason };
  } finally {
    clearTimeout(deadline);
    options.signal?.removeEventListener('abort', onAbort);
  }
}

export interface ProcessOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
  /** Written to stdin, which is then closed. */
  readonly input?: string;
  readonly onLine?: (line: string, from: 'stdout' | 'stderr') => void;
  /** If given, the child's file descriptor 3 is a pipe, read by lines (apt's status pipe). */
  readonly onStatusLine?: (line: string) => void;
}

export interface ProcessEnd {
  readonly code: number | undefined;
  /** "" if it ended with 0. */
  readonly reason: string;
}

export interface RunningProcess {
  readonly pid: number;
  /** Resolves when it has ended and its output is read; never rejects. */
  readonly exited: Promise<ProcessEnd>;
  /** TERM to the group, KILL after `graceSeconds` (default 2); resolves when it is gone. Repeatable. */
  stop(graceSeconds?: number): Promise<void>;
}

/** Starts a long-running child of ours. A program that cannot be started ends at once with a reason. */
export function startProcess(argv: readonly string[], options: ProcessOptions = {}): RunningProcess {
  const child = launch(argv, options, options.onStatusLine ? 'pipe-and-status' : 'pipe');
  const ended = childEnd(child);
  let lastError = '';
  const cutters = [
    cut(child.stdout, (line) => options.onLine?.(line, 'stdout')),
    cut(child.stderr, (line) => {
      if (line.trim() !== '') lastError = line;
      options.onLine?.(line, 'stderr');
    }),
    cut((child.stdio[3] as Readable | undefined) ?? null, (line) => options.onStatusLine?.(line)),
  ];
  void feed(child, options.input);
  const exited = ended.then(async (end) => {
    await drained(child);
    for (const cutter of cutters) cutter.end();
    return { code: end.code, reason: explain(argv, end, lastError) };
  });
  return {
    pid: child.pid ?? -1,
    exited,
    async stop(graceSeconds = killAfterMs / 1000) {
      endGroup(child, ended, graceSeconds * 1000);
      await exited;
    },
  };
}

/**
 * A byte stream over a child's stdin and stdout (for example nsenter + socat, as ssh2's `sock`).
 * Destroying it ends the child; the child's end ends the stream, with an error if it failed.
 */
export function openStream(argv: readonly string[], options: { env?: Readonly<Record<string, string>> } = {}): Duplex {
  const child = launch(argv, options, 'pipe');
  const ended = childEnd(child);
  let complaint = '';
  child.stderr?.on('data', (chunk: Buffer) => (complaint = (complaint + chunk.toString('utf8')).slice(-2000)));
  const stream = new Duplex({
    read: () => void child.stdout?.resume(),
    write: (chunk: Buffer, _encoding, done) => void child.stdin?.write(chunk, (error) => done(error ?? null)),
    final: (done) => void child.stdin?.end(() => done()),
    destroy: (error, done) => {
      endGroup(child, ended);
      done(error);
    },
  });
  child.stdin?.on('error', () => undefined); // a closed pipe shows as the child's end
  child.stdout?.on('data', (chunk: Buffer) => {
    if (!stream.push(chunk)) child.stdout?.pause();
  });
  void ended.then(async (end) => {
    await drained(child);
    if (stream.destroyed) return;
    const reason = explain(argv, end, complaint);
    if (reason === '') stream.push(null);
    else stream.destroy(new GridError('unavailable', reason));
  });
  return stream;
}

/**
 * Starts a process that outlives us: own session, output appended to `log`, its pid written to `pidFile`.
 * @returns its pid; throws `unavailable` if it cannot be started
 */
export async function spawnDaemon(
  argv: readonly string[],
  options: { log: string; pidFile: string; cwd?: string; env?: Readonly<Record<string, string>>; uid?: number; gid?: number },
): Promise<number> {
  const log = openSync(options.log, 'a', 0o600);
  try {
    const child = launch(argv, options, log);
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error) => reject(new GridError('unavailable', `${argv[0]} could not be started: ${error.message}`)));
    });
    child.unref();
    const pid = child.pid as number;
    writeFileSync(options.pidFile, `${pid}\n`, { mode: 0o600 });
    return pid;
  } finally {
    closeSync(log);
  }
}

/**
 * Ends a process that an earlier process of ours started by spawnDaemon: TERM to its group, KILL after `graceSeconds`.
 * The caller must know that `pid` is still that process. Repeatable; a pid that is gone is fine.
 */
export async function stopDaemon(pid: number, graceSeconds = 2): Promise<void> {
  const deadline = performance.now() + graceSeconds * 1000;
  signalGroup(pid, 'SIGTERM');
  while (isAlive(pid) && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
  if (isAlive(pid)) signalGroup(pid, 'SIGKILL');
}

/** True if a process with this id runs; one that ended and only waits for its parent (a zombie) does not. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8'); // "pid (name) state ...": the name may hold anything
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}

// ---------------------------------------------------------------- one child

interface ChildEnd {
  readonly code: number | undefined;
  readonly signal?: string;
  readonly error?: NodeJS.ErrnoException;
}

type Wiring = 'pipe' | 'pipe-and-status' | number;

function launch(argv: readonly string[], options: Pick<CommandOptions, 'cwd' | 'env' | 'uid' | 'gid'>, wiring: Wiring): ChildProcess {
  const [program, ...rest] = argv;
  if (program === undefined || program === '') throw new GridError('internal', 'a command without a program was to be run');
  const bad = argv.find((word) => word.includes('\0'));
  if (bad !== undefined) throw new GridError('bad-request', `a word for ${program} contains a NUL character`);
  return spawn(program, rest, {
    detached: true, // its own session and process group
    stdio: typeof wiring === 'number' ? ['ignore', wiring, wiring] : wiring === 'pipe' ? ['pipe', 'pipe', 'pipe'] : ['pipe', 'pipe', 'pipe', 'pipe'],
    env: { PATH: commandPath, LC_ALL: 'C', HOME: homedir(), ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
  });
}

function childEnd(child: ChildProcess): Promise<ChildEnd> {
  return new Promise((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (child.pid === undefined) resolve({ code: error.code === 'ENOENT' ? 127 : 126, error });
    });
    child.once('exit', (code, signal) => resolve({ code: code ?? undefined, ...(signal ? { signal } : {}) }));
  });
}

async function drained(child: ChildProcess): Promise<void> {
  const streams = [child.stdout, child.stderr, child.stdio[3]].filter((stream): stream is Readable => stream instanceof Readable);
  const open = streams.filter((stream) => !stream.destroyed && !stream.readableEnded);
  if (open.length === 0 || child.pid === undefined) return;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, drainMs)));
  await Promise.race([late, Promise.all(open.map((stream) => new Promise((resolve) => stream.once('close', resolve).once('end', resolve))))]);
  clearTimeout(timer);
  for (const stream of streams) stream.destroy();
}

/** Resolves to "" or to why the input could not be read. A child that closes its stdin early is its own business. */
async function feed(child: ChildProcess, input: RunOptions['input']): Promise<string> {
  const stdin = child.stdin;
  if (!stdin) return '';
  stdin.on('error', () => undefined);
  if (input === undefined || typeof input === 'string' || input instanceof Uint8Array) {
    stdin.end(input ?? '');
    return '';
  }
  try {
    await pipeline(Readable.from(input, { objectMode: false }), stdin);
    return '';
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return code === 'EPIPE' || code === 'ERR_STREAM_PREMATURE_CLOSE' || code === 'ERR_STREAM_DESTROYED' ? '' : (error as Error).message;
  }
}

function cut(stream: Readable | null, onLine: (line: string) => void): LineCutter {
  const cutter = new LineCutter(onLine);
  stream?.on('data', (chunk: Buffer) => cutter.add(chunk));
  return cutter;
}

function endGroup(child: ChildProcess, ended: Promise<unknown>, graceMs = killAfterMs): void {
  const pid = child.pid;
  if (pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  signalGroup(pid, 'SIGTERM');
  // The group may outlive its leader, so KILL goes to the group at the leader's end too.
  const timer = setTimeout(() => signalGroup(pid, 'SIGKILL'), graceMs);
  void ended.then(() => {
    clearTimeout(timer);
    signalGroup(pid, 'SIGKILL');
  });
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // the group is gone
  }
}

function explain(argv: readonly string[], end: ChildEnd, stderr: string): string {
  const program = argv[0] ?? '';
  if (end.error) return end.code === 127 ? `${program}: no such program on ${commandPath}` : `${program} could not be started: ${end.error.message}`;
  if (end.code === 0) return '';
  const how = end.code === undefined ? `was ended by ${end.signal ?? 'a signal'}` : `ended with code ${end.code}`;
  const last = lastLine(stderr);
  return `${program} ${how}${last === '' ? '' : `: ${last}`}`;
}

function refuseIfAborted(argv: readonly string[], signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new GridError('interrupted', `${argv[0]} was interrupted`);
}
