/** What the head does beside a running delta build: its plan file, the memory it may take, the clock on its status lines. */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Layer, Resolution } from '../domain/image.js';
import type { BuildProgress } from '../ports.js';
import { StatusClock, type PlanStep } from './apt-output.js';
import type { DebSupply } from './deb-supply.js';
import { digestAndSync, type LayerDigest } from './layer-store.js';

const MiB = 1024 * 1024;
/** The layers below, the unpacked packages and what is decompressed ahead: Debian's packages grow four times when decompressed, a few ten times. */
const memoryFactor = 12;
const reserve = 128 * MiB;

/** A build's times. Seconds of performance.now(). */
export interface Installed {
  readonly spent: ReturnType<StatusClock['end']>;
  /** Seconds in which dpkg waited for a package to come. */
  readonly blocked: number;
  /** When packing began. */
  readonly packing: number;
  readonly digest: LayerDigest | undefined;
}

export function seconds(): number {
  return performance.now() / 1000;
}

/** Reads the status lines of a build as they come. */
export class BuildWatch {
  private clock: StatusClock | undefined;
  private packing: number | undefined;
  private digest: Promise<LayerDigest> | undefined;
  private begun = 0;

  constructor(
    private readonly supply: DebSupply,
    private readonly packages: number,
    private readonly stage: string,
    private readonly progress: BuildProgress,
  ) {}

  line(line: string): void {
    const now = seconds();
    if (line === 'gridvc: installing') this.clock = new StatusClock(now, (name) => this.supply.arrived.get(name));
    if (line === 'gridvc: packing') {
      this.packing = now;
      this.progress('pack', 'packing the layer');
    }
    if (line === 'gridvc: packed') {
      this.digest = digestAndSync(join(this.stage, 'layer.sqfs')); // while the jail waits for what still runs in it
      this.digest.catch(() => undefined); // met in end()
    }
    const step = this.clock?.line(line, now);
    if (step === undefined) return;
    if (step.phase !== 'trigger') this.begun += 1;
    const percent = Math.min(99, (100 * this.begun) / (2 * this.packages)); // each is unpacked and configured
    this.progress('install', `${percent.toFixed(0)}% ${step.phase} ${step.package}`);
  }

  /** To be called after a build that went well. */
  async end(): Promise<Installed> {
    const packing = this.packing ?? seconds();
    return { spent: this.clock?.end(packing) ?? [], blocked: this.clock?.blocked ?? 0, packing, digest: await this.digest };
  }
}

/** Writes what the build's script waits for (build-scripts.ts says the form); `plan` appears last, whole. */
export async function writePlan(stage: string, plan: readonly PlanStep[], resolution: Resolution, asked: ReadonlySet<string>): Promise<void> {
  const words = (step: PlanStep): readonly string[] => (step.verb === 'unpack' ? step.files : step.verb === 'configure' ? step.names : []);
  const lines = (all: readonly string[]): string => all.map((line) => `${line}\n`).join('');
  await writeFile(join(stage, 'files'), lines(plan.flatMap((step) => (step.verb === 'unpack' ? step.files : []))));
  await writeFile(join(stage, 'auto'), lines(resolution.packages.filter((entry) => !asked.has(entry.name)).map((entry) => entry.name)));
  await writeFile(join(stage, 'plan.new'), lines(plan.map((step) => [step.verb, ...words(step)].join(' '))));
  await rename(join(stage, 'plan.new'), join(stage, 'plan'));
}

/**
 * Bytes of memory that a build may take for its tree: half of what is free, at most `limit`. 0 if that may not be enough: then it
 * works on the disk.
 */
export async function memoryFor(resolution: Resolution, below: readonly Layer[], limit: number): Promise<number> {
  const free = Number(/^MemAvailable: +(\d+) kB$/m.exec(await readFile('/proc/meminfo', 'utf8'))?.[1] ?? 0) * 1024;
  const packed = resolution.packages.reduce((sum, entry) => sum + entry.debBytes, 0) + below.reduce((sum, layer) => sum + layer.bytes, 0);
  const allowed = Math.min(limit, Math.floor(free / 2));
  return allowed >= reserve + memoryFactor * packed ? allowed : 0;
}

/** Runs works side by side; the first failure ends the others, and is thrown when all have ended. */
export async function together(signal: AbortSignal, start: (signal: AbortSignal) => readonly Promise<void>[]): Promise<void> {
  const failed = new AbortController();
  const failures: unknown[] = [];
  await Promise.all(start(AbortSignal.any([signal, failed.signal])).map((work) => work.catch((error: unknown) => {
    failures.push(error);
    failed.abort();
  })));
  if (failures.length > 0) throw failures[0];
}
