/**
 * What a site remembers of single packages: the last seconds of their phases, and which triggers run
 * in which transactions. Parts of the models M2 and M3 (install.ts). States are plain JSON.
 */
import type { PackageTiming } from '../image.js';
import { emptyLine, fitLine, isPlausible, lowMedianOf, medianOf, type LineState } from './line.js';
import { filesPerMiB, installPriors, packageCap, packageShrink, triggerPackages } from './priors.js';

const MiB = 1024 * 1024;
const kept = 5; // last observations of a phase: the median forgets a stall at the third
const keptRatios = 30;
const mostWithout = 3000;

export interface PackageMemory {
  /** Last seconds of unpack + configure, oldest first. */
  readonly own: readonly number[];
  /** Last seconds of the triggers that ran in this package's name. */
  readonly triggers: readonly number[];
  readonly bytes: number;
  readonly files: number;
}

export interface TriggerMemory {
  /** Last seconds, each divided by the size factor of its image. */
  readonly seconds: readonly number[];
  readonly runs: number;
  /** Packages that were in a transaction without this trigger: they do not cause it. */
  readonly without: Readonly<Record<string, 1>>;
}

export interface PackagesState {
  readonly packages: Readonly<Record<string, PackageMemory>>;
  readonly triggers: Readonly<Record<string, TriggerMemory>>;
  readonly transactions: number;
  /** Real sum / sum of the line, of past transactions: the line is a median, a closure is a sum. */
  readonly ratios: readonly number[];
}

export const noPackages: PackagesState = { packages: {}, triggers: {}, transactions: 0, ratios: [] };

/** A package to be installed, as estimates see it. */
export interface PackageWork {
  readonly name: string;
  readonly debBytes: number;
}

/** Learns the phases of one transaction. `installed`: packages that the image held before, above its base. */
export function learnPackages(state: PackagesState, phases: readonly PackageTiming[], installed: number): PackagesState {
  const good = phases.filter((row) => isPlausible(row.seconds));
  const inside = good.filter((row) => row.version !== ''); // no version: a package of the base whose trigger ran
  if (inside.length === 0) return state;
  const names = [...new Set(inside.map((row) => row.package))];
  const packages = { ...state.packages };
  for (const [name, rows] of grouped(inside)) packages[name] = remember(state, name, rows);
  return {
    packages,
    triggers: learnTriggers(state, good.filter((row) => row.phase === 'trigger'), names, sizeFactor(installed + names.length)),
    transactions: state.transactions + 1,
    ratios: [...state.ratios, ratioOf(state, inside)].slice(-keptRatios),
  };
}

function remember(state: PackagesState, name: string, rows: readonly PackageTiming[]): PackageMemory {
  const before = known(state.packages, name);
  const bytes = Math.max(0, ...rows.map((row) => row.bytes));
  const files = Math.max(0, ...rows.map((row) => row.files));
  const sum = (wanted: boolean): number => rows.filter((row) => (row.phase === 'trigger') === wanted).reduce((total, row) => total + row.seconds, 0);
  const expected = linePackage(state, bytes, files);
  const most = expected * packageCap.factor + packageCap.seconds;
  return {
    own: [...(before?.own ?? []), Math.min(sum(false), most)].slice(-kept),
    triggers: rows.some((row) => row.phase === 'trigger') ? [...(before?.triggers ?? []), Math.min(sum(true), most)].slice(-kept) : (before?.triggers ?? []),
    bytes,
    files,
  };
}

function ratioOf(state: PackagesState, inside: readonly PackageTiming[]): number {
  let real = 0;
  let line = 0;
  for (const rows of grouped(inside).values()) {
    const expected = linePackage(state, rows[0]?.bytes ?? 0, rows[0]?.files ?? 0);
    const own = rows.filter((row) => row.phase !== 'trigger').reduce((total, row) => total + row.seconds, 0);
    real += Math.min(own, expected * packageCap.factor + packageCap.seconds);
    line += expected;
  }
  return line > 0 ? real / line : 1;
}

function learnTriggers(state: PackagesState, ran: readonly PackageTiming[], names: readonly string[], size: number): PackagesState['triggers'] {
  const triggers: Record<string, TriggerMemory> = { ...state.triggers };
  const rows = grouped(ran);
  for (const [name, [first]] of rows) {
    const before = known(state.triggers, name) ?? { seconds: [], runs: 0, without: {} };
    triggers[name] = { ...before, seconds: [...before.seconds, (first?.seconds ?? 0) / size].slice(-kept), runs: before.runs + 1 };
  }
  for (const [name, before] of Object.entries(state.triggers)) {
    if (rows.has(name)) continue;
    const fresh = names.filter((other) => !Object.hasOwn(before.without, other));
    if (fresh.length === 0 || Object.keys(before.without).length > mostWithout) continue;
    triggers[name] = { ...before, without: { ...before.without, ...Object.fromEntries(fresh.map((other) => [other, 1] as const)) } };
  }
  return triggers;
}

const answered = new WeakMap<PackagesState, Map<string, readonly [number, number]>>(); // by package: [bytes, seconds]

/** Seconds of unpack + configure of one package: its own median, shrunk to the line of all packages. */
export function ownSeconds(state: PackagesState, work: PackageWork): number {
  const answers = answered.get(state) ?? new Map<string, readonly [number, number]>();
  answered.set(state, answers);
  const ready = answers.get(work.name);
  if (ready?.[0] === work.debBytes) return ready[1];
  const seconds = shrunkSeconds(state, work);
  answers.set(work.name, [work.debBytes, seconds]);
  return seconds;
}

function shrunkSeconds(state: PackagesState, work: PackageWork): number {
  const memory = known(state.packages, work.name);
  const line = linePackage(state, work.debBytes, filesOf(state, work)) * ratioNow(state);
  if (memory === undefined) return line;
  const trust = memory.own.length / (memory.own.length + packageShrink);
  return trust * lowMedianOf(memory.own) + (1 - trust) * line;
}

const ratiosNow = new WeakMap<PackagesState, number>();

function ratioNow(state: PackagesState): number {
  const ready = ratiosNow.get(state) ?? medianOf([1, ...state.ratios]);
  ratiosNow.set(state, ready);
  return ready;
}

/** Seconds of the triggers that ran in this package's own name (M2's way: counted with the package). */
export function ownTriggerSeconds(state: PackagesState, work: PackageWork): number {
  return lowMedianOf(known(state.packages, work.name)?.triggers ?? []);
}

/** M3's way: each trigger once per transaction, if a package of it may cause it, scaled by the size of the image. */
export function triggerSeconds(state: PackagesState, packages: readonly PackageWork[], installed: number): number {
  const size = sizeFactor(installed + packages.length);
  const seen = packages.filter((work) => Object.hasOwn(state.packages, work.name));
  return Object.values(state.triggers).reduce((sum, trigger) => {
    const suspects = seen.some((work) => !Object.hasOwn(trigger.without, work.name));
    const rate = seen.length < packages.length ? trigger.runs / (state.transactions + 1) : 0;
    return sum + (suspects ? 1 : rate) * lowMedianOf(trigger.seconds) * size;
  }, 0);
}

/** Files that a package brings: as unpacked here, else by its bytes. */
export function filesOf(state: PackagesState, work: PackageWork): number {
  const memory = known(state.packages, work.name);
  return memory !== undefined && memory.files > 0 ? memory.files : (work.debBytes / MiB) * filesPerMiB;
}

/** A record's own entry: a package may be called like something that every object has. */
function known<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

function sizeFactor(packages: number): number {
  return (triggerPackages + packages) / triggerPackages;
}

const lines = new WeakMap<PackagesState['packages'], readonly number[]>();

/** One package by the line through all known packages (each one's median counts once). */
function linePackage(state: PackagesState, bytes: number, files: number): number {
  const [base = 0, perMiB = 0, perFiles = 0] = lineOf(state.packages);
  return base + perMiB * (bytes / MiB) + perFiles * (files / 1000);
}

function lineOf(packages: PackagesState['packages']): readonly number[] {
  const ready = lines.get(packages);
  if (ready !== undefined) return ready;
  const entries = Object.values(packages);
  const rows = entries.slice(-mostFitted).map((memory) => [lowMedianOf(memory.own), 1, memory.bytes / MiB, memory.files / 1000]);
  const state: LineState = rows.length === 0 ? emptyLine : { rows };
  const { coefficients } = fitLine(installPriors.package, state);
  lines.set(packages, coefficients);
  return coefficients;
}

const mostFitted = 250;

function grouped(rows: readonly PackageTiming[]): Map<string, PackageTiming[]> {
  const groups = new Map<string, PackageTiming[]>();
  for (const row of rows) {
    const group = groups.get(row.package);
    if (group === undefined) groups.set(row.package, [row]);
    else group.push(row);
  }
  return groups;
}
