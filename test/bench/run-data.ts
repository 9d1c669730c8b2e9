/** The measured installations as a compact file (test/data/install-runs.json), so that models can be judged again without installing. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PackageTiming } from '../../src/domain/image.js';
import { root } from '../support/grid.js';
import type { Below, InstallRun } from './install-runs.js';

const phases = ['unpack', 'configure', 'trigger'] as const;
export const dataFile = join(root, 'test/data/install-runs.json');

interface Compact {
  readonly made: string;
  /** [name, bytes, files]; bytes 0: a package of the layers below, whose trigger ran. */
  readonly packages: readonly (readonly [string, number, number])[];
  /** rows: package number, then milliseconds of unpack, configure, trigger (-1: did not run). */
  readonly runs: readonly { set: string; below: Below; installed: number; ms: number; packMs: number; layer: number; rows: readonly (readonly number[])[] }[];
}

export function writeData(runs: readonly InstallRun[], made: string): void {
  const numbers = new Map<string, number>();
  const packages: (readonly [string, number, number])[] = [];
  const numberOf = (row: PackageTiming): number => {
    const key = `${row.package} ${row.version === '' ? 0 : row.bytes}`;
    const known = numbers.get(key);
    if (known !== undefined) return known;
    numbers.set(key, packages.length);
    packages.push(row.version === '' ? [row.package, 0, 0] : [row.package, row.bytes, row.files]);
    return packages.length - 1;
  };
  const ms = (seconds: number): number => Math.round(seconds * 1000);
  const compact: Compact = {
    made,
    runs: runs.map((run) => {
      const rows = new Map<number, number[]>();
      for (const row of run.phases) {
        const entry = rows.get(numberOf(row)) ?? [-1, -1, -1];
        entry[phases.indexOf(row.phase)] = ms(row.seconds);
        rows.set(numberOf(row), entry);
      }
      return { set: run.set, below: run.below, installed: run.installed, ms: ms(run.seconds), packMs: ms(run.pack), layer: run.layer, rows: [...rows].map(([number, times]) => [number, ...times]) };
    }),
    packages,
  };
  const lines = compact.runs.map((run) => JSON.stringify(run)).join(',\n');
  writeFileSync(dataFile, `{"made":${JSON.stringify(compact.made)},\n"packages":${JSON.stringify(compact.packages)},\n"runs":[\n${lines}\n]}\n`);
}

export function readData(): { made: string; runs: InstallRun[] } {
  const compact = JSON.parse(readFileSync(dataFile, 'utf8')) as Compact;
  const runs = compact.runs.map((run): InstallRun => ({
    set: run.set, below: run.below, installed: run.installed, seconds: run.ms / 1000, pack: run.packMs / 1000, layer: run.layer,
    phases: run.rows.flatMap(([number = 0, ...times]) => {
      const [name, bytes, files] = compact.packages[number] ?? ['', 0, 0];
      return phases.flatMap((phase, i) => ((times[i] ?? -1) < 0 ? [] : [{ package: name, version: bytes > 0 ? '1' : '', phase, seconds: (times[i] ?? 0) / 1000, bytes, files }]));
    }),
  }));
  return { made: compact.made, runs };
}
