/**
 * The truth that a simulated site lives in: what each package and trigger really takes, the network, and
 * the noise of each measurement. Models never see it, only measurements. Its figures are made up (seeded), of the
 * size measured on real builds: a package's time is its own, only loosely a matter of its bytes.
 */
import type { PackageTiming } from '../../src/domain/image.js';
import { randomOf, type Closures } from './trace.js';

const MiB = 1024 * 1024;
/** A squashfs layer is about this much larger than its .debs. */
export const layerPerDeb = 1.3;
const bandwidth = 110 * MiB; // out of the head, shared by its hosts
const fetching = 25 * MiB;

export class World {
  private readonly own: Float64Array;
  private readonly triggers: { name: string; seconds: number; causes: Uint8Array }[];
  private readonly random: () => number;

  constructor(
    readonly data: Closures,
    seed: number,
  ) {
    const random = randomOf(seed + 1);
    this.random = random;
    this.own = Float64Array.from(data.packages, ([, bytes]) => (0.03 + 0.11 * (bytes / MiB)) * Math.exp(0.7 * normal(random)) + (random() < 0.02 ? 1 + 3 * random() : 0));
    this.triggers = ['libc-bin', 'man-db', 'fontconfig', 'hicolor-icon-theme', 'mailcap', 'ca-certificates', 'systemd'].map((name, i) => ({
      name,
      seconds: 0.2 + 1.2 * random(),
      causes: Uint8Array.from(data.packages, () => (random() < [0.5, 0.3, 0.03, 0.05, 0.05, 0.01, 0.1][i]! ? 1 : 0)),
    }));
  }

  bytesOf(packages: readonly number[]): number {
    return packages.reduce((sum, index) => sum + (this.data.packages[index]?.[1] ?? 0), 0);
  }

  downloadSeconds(bytes: number): number {
    return bytes === 0 ? 0 : 0.4 + bytes / fetching;
  }

  packSeconds(bytes: number): number {
    return bytes === 0 ? 0 : 0.3 + (0.035 * bytes) / MiB;
  }

  transferSeconds(bytes: number, hosts: number): number {
    return 0.05 + 0.02 * hosts + bytes / bandwidth;
  }

  startSeconds(nodes: number): number {
    return 0.7 + 0.1 * nodes + 0.6;
  }

  /** Expected seconds of one apt transaction. */
  installSeconds(packages: readonly number[], installed: number): number {
    if (packages.length === 0) return 0;
    let sum = overheadOf(packages.length);
    for (const index of packages) sum += this.own[index] ?? 0;
    for (const trigger of this.running(packages)) sum += trigger.seconds * scale(installed + packages.length);
    return sum;
  }

  /** The same as a measurement: every phase with noise, and once in a while a stall. */
  measureInstall(packages: readonly number[], installed: number): { seconds: number; phases: PackageTiming[] } {
    const noisy = (seconds: number, spread: number): number => seconds * Math.exp(spread * normal(this.random));
    const phases = packages.flatMap((index): PackageTiming[] => {
      const [name = '', bytes = 0, kib = 0] = this.data.packages[index] ?? [];
      const seconds = noisy(this.own[index] ?? 0, 0.15);
      const row = { package: name, version: '1', bytes, files: Math.round(kib / 12) };
      return [{ ...row, phase: 'unpack', seconds: 0.65 * seconds }, { ...row, phase: 'configure', seconds: 0.35 * seconds }];
    });
    for (const { name, seconds } of this.running(packages)) phases.push({ package: name, version: '', phase: 'trigger', seconds: noisy(seconds * scale(installed + packages.length), 0.15), bytes: 0, files: 0 });
    const stall = this.random() < 0.005 ? 60 + 240 * this.random() : 0;
    return { seconds: phases.reduce((sum, row) => sum + row.seconds, 0) + noisy(overheadOf(packages.length), 0.15) + stall, phases };
  }

  private running(packages: readonly number[]): World['triggers'] {
    return this.triggers.filter((trigger) => packages.some((index) => trigger.causes[index] === 1));
  }
}

function overheadOf(packages: number): number {
  return 0.8 + 0.004 * packages;
}

function scale(packages: number): number {
  return 1 + packages / 300;
}

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(random() + 1e-12)) * Math.cos(2 * Math.PI * random());
}
