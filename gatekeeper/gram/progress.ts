/**
 * How much of a job's output has left us, in a file of the job: written in the same turn as the bytes themselves go to the
 * system, so that a gatekeeper that is killed does not send them again. (Rows come later: a commit takes milliseconds, and
 * under load in every tenth kill the client had a piece twice.) A crash of the whole machine may leave it behind the rows.
 */
import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { checkName } from '../../src/domain/names.js';

type Bytes = ReadonlyMap<string, number>;
type Stream = 'out' | 'err';
type Noted = Partial<Record<Stream, Record<string, number>>>;

export class ProgressFiles {
  private constructor(private readonly directory: string) {}

  static async open(home: string): Promise<ProgressFiles> {
    const directory = join(home, 'gram', 'progress');
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return new ProgressFiles(directory);
  }

  /** Takes up the file of a job, or begins one. */
  of(job: string): Progress {
    const path = this.path(job);
    const before = read(path);
    return new Progress(openSync(path, before === undefined ? 'w' : 'r+', 0o600), before ?? {});
  }

  /** Repeatable. */
  remove(job: string): void {
    rmSync(this.path(job), { force: true });
  }

  jobs(): Promise<string[]> {
    return readdir(this.directory);
  }

  private path(job: string): string {
    return join(this.directory, checkName('cluster', job));
  }
}

export class Progress {
  private open = true;

  constructor(
    private readonly file: number,
    private readonly now: Noted,
  ) {}

  /** Bytes by node, as the file or the rows know them, whichever is further. */
  since(stream: Stream, rows: Bytes): Bytes {
    const noted = this.now[stream] ?? {};
    return new Map([...new Set([...rows.keys(), ...Object.keys(noted)])].map((node) => [node, Math.max(rows.get(node) ?? 0, noted[node] ?? 0)]));
  }

  /** At once, in one write: whole, or not at all. */
  note(stream: Stream, bytes: Bytes): void {
    if (!this.open) return;
    this.now[stream] = Object.fromEntries(bytes);
    writeSync(this.file, `${JSON.stringify(this.now)}\n`, 0);
  }

  close(): void {
    if (this.open) closeSync(this.file);
    this.open = false;
  }
}

/** The first line; what is behind it is left of a longer one. */
function read(path: string): Noted | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8').split('\n')[0] ?? '') as Noted;
  } catch {
    return undefined; // none yet
  }
}
