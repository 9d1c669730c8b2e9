/**
 * What a site remembers of single packages: the last seconds that configuring each took, and which triggers run
 * in which transactions. Parts of the models M2 and M3 (install.ts). States are plain JSON.
 *
 * Unpacking is a line of the whole transaction: packages are decompressed ahead, side by side, so that dpkg's seconds of one
 * package are partly another's; their sum follows bytes, packages and files within a few percent. Configuring is each
 * package's own: nothing for most, and seconds for those whose maintainer scripts compile or initialize.
 */
import type { PackageTiming } from '../image.js';
import { emptyLine, isPlausible, learnLine, lowMedianOf, predictLine, type LineState } from './line.js';
import { packagePriors } from './package-priors.js';
import { configurePriors, filesPerMiB, installPriors, kindShrink, packageCap, packageShrink, triggerPackages } from './priors.js';

const MiB = 1024 * 1024;
const kept = 5; // last observations of a phase: the median forgets a stall at the third
const mostWithout = 3000;

export interface PackageMemory {
  /** Last seconds of configure, oldest first. */
  readonly own: readonly number[];
  /** Last seconds of the triggers that ran in this package's name, 0 where none did. */
  readonly triggers: readonly number[];
  readonly bytes: number;
  readonly files: number;
}

export interface TriggerMemory {
  /** True once it ran for a package of the layers below: then it may run in any transaction; else only where its own package is installed. */
  readonly below: boolean;
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
  /** Seconds of all unpacking of a transaction. Quantities: 1, MiB, packages, thousands of files. */
  readonly unpack: LineState;
  /** Whether what gridvc ships about single packages is believed; false where models are judged by the sets that it was measured with. */
  readonly shipped: boolean;
}

/** Nothing measured here, and nothing believed of single packages. */
export const noPackages: PackagesState = { packages: {}, triggers: {}, transactions: 0, unpack: emptyLine, shipped: false };

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
    unpack: learnUnpack(state.unpack, inside),
    shipped: state.shipped,
  };
}

function remember(state: PackagesState, name: string, rows: readonly PackageTiming[]): PackageMemory {
  const before = known(state.packages, name);
  const bytes = Math.max(0, ...rows.map((row) => row.bytes));
  const files = Math.max(0, ...rows.map((row) => row.files));
  const sum = (phase: PackageTiming['phase']): number => rows.filter((row) => row.phase === phase).reduce((total, row) => total + row.seconds, 0);
  const expected = kindSeconds(state, { name, debBytes: bytes });
  const most = expected * packageCap.factor + packageCap.seconds;
  return {
    own: [...(before?.own ?? []), Math.min(sum('configure'), most)].slice(-kept),
    triggers: [...(before?.triggers ?? []), Math.min(sum('trigger'), most)].slice(-kept),
    bytes,
    files,
  };
}

function learnUnpack(line: LineState, inside: readonly PackageTiming[]): LineState {
  const rows = inside.filter((row) => row.phase === 'unpack');
  if (rows.length === 0) return line;
  const total = (of: (row: PackageTiming) => number): number => rows.reduce((sum, row) => sum + of(row), 0);
  return learnLine(line, [1, total((row) => row.bytes) / MiB, rows.length, total((row) => row.files) / 1000], total((row) => row.seconds));
}

function learnTriggers(state: PackagesState, ran: readonly PackageTiming[], names: readonly string[], size: number): PackagesState['triggers'] {
  const triggers: Record<string, TriggerMemory> = { ...state.triggers };
  const rows = grouped(ran);
  for (const [name, [first]] of rows) {
    const before = known(state.triggers, name) ?? { below: false, seconds: [], runs: 0, without: clearedBy(state) };
    triggers[name] = { ...before, below: before.below || first?.version === '', seconds: [...before.seconds, (first?.seconds ?? 0) / size].slice(-kept), runs: before.runs + 1 };
  }
  for (const [name, before] of Object.entries(state.triggers)) {
    if (rows.has(name)) continue;
    const fresh = names.filter((other) => !Object.hasOwn(before.without, other));
    if (fresh.length === 0 || Object.keys(before.without).length > mostWithout) continue;
    triggers[name] = { ...before, without: { ...before.without, ...Object.fromEntries(fresh.map((other) => [other, 1] as const)) } };
  }
  return triggers;
}

/** A trigger that runs for the first time was not caused by any package seen before. */
function clearedBy(state: PackagesState): TriggerMemory['without'] {
  return Object.fromEntries(Object.keys(state.packages).slice(-mostWithout).map((name) => [name, 1] as const));
}

/** Seconds of unpacking a whole closure. */
export function unpackSeconds(state: PackagesState, packages: readonly PackageWork[]): number {
  const mib = packages.reduce((sum, work) => sum + work.debBytes, 0) / MiB;
  const files = packages.reduce((sum, work) => sum + filesOf(state, work), 0);
  return predictLine(installPriors.unpack, state.unpack, [1, mib, packages.length, files / 1000]).seconds;
}

/** Seconds of unpack + configure that one package more adds to a transaction. */
export function ownSeconds(state: PackagesState, work: PackageWork): number {
  const line = predictLine(installPriors.unpack, state.unpack, [0, work.debBytes / MiB, 1, filesOf(state, work) / 1000]).seconds;
  return line + configureSeconds(state, work);
}

/** Seconds of configuring one package: the median of its last ones; never seen here: what gridvc comes with, or others of its kind. */
export function configureSeconds(state: PackagesState, work: PackageWork): number {
  const memory = known(state.packages, work.name);
  const shipped = state.shipped ? known(packagePriors, work.name) : undefined;
  const believed = shipped === undefined ? kindSeconds(state, work) : shipped * speedOf(state);
  if (memory === undefined) return believed;
  const trust = memory.own.length / (memory.own.length + packageShrink);
  return trust * lowMedianOf(memory.own) + (1 - trust) * believed;
}

/** How many times slower than the machine of the priors this site is. */
function speedOf(state: PackagesState): number {
  const typical = [1, 40, 50, 2];
  return predictLine(installPriors.unpack, state.unpack, typical).seconds / predictLine(installPriors.unpack, emptyLine, typical).seconds;
}

export type PackageKind = keyof typeof configurePriors;

/** What the name tells of the work of maintainer scripts: Python packages are compiled, PHP's change the settings of all its programs, libraries do next to nothing. */
export function kindOf(name: string): PackageKind {
  if (/^(python3|idle-python)/.test(name)) return 'python';
  if (/^php\d/.test(name)) return 'php';
  if (/^(lib|node-|fonts-|r-cran-|gir1\.2-|ruby-|golang-)|-(dev|data|perl|doc)$/.test(name)) return 'library';
  return 'other';
}

/** Configuring a package never seen: seconds of its kind, per unit of size (1 + MiB · weight). */
function kindSeconds(state: PackagesState, work: PackageWork): number {
  const kind = kindOf(work.name);
  return (kindRates(state)[kind] ?? 0) * sizeIn(kind, work.debBytes);
}

function sizeIn(kind: PackageKind, bytes: number): number {
  return 1 + configurePriors[kind].perMiB * (bytes / MiB);
}

const rates = new WeakMap<PackagesState['packages'], Readonly<Record<PackageKind, number>>>();

/** Mean seconds per unit of size of all packages of a kind, a bounded share from each, with the prior as if it were some of them. */
function kindRates(state: PackagesState): Readonly<Record<PackageKind, number>> {
  const ready = rates.get(state.packages);
  if (ready !== undefined) return ready;
  const kinds = Object.keys(configurePriors) as PackageKind[];
  const speed = speedOf(state);
  const sums = Object.fromEntries(kinds.map((kind) => [kind, { seconds: kindShrink * configurePriors[kind].seconds * speed, size: kindShrink }])) as Record<PackageKind, { seconds: number; size: number }>;
  for (const [name, memory] of Object.entries(state.packages)) {
    const kind = kindOf(name);
    const size = sizeIn(kind, memory.bytes);
    sums[kind].seconds += Math.min(lowMedianOf(memory.own), configurePriors[kind].most * speed * size);
    sums[kind].size += size;
  }
  const found = Object.fromEntries(kinds.map((kind) => [kind, sums[kind].seconds / sums[kind].size])) as Record<PackageKind, number>;
  rates.set(state.packages, found);
  return found;
}

/** Seconds of the triggers that ran in this package's own name (M2's way: counted with the package). */
export function ownTriggerSeconds(state: PackagesState, work: PackageWork): number {
  return lowMedianOf(known(state.packages, work.name)?.triggers ?? []);
}

/** M3's way: each trigger once per transaction, as far as a package of it may cause it, scaled by the size of the image. */
export function triggerSeconds(state: PackagesState, packages: readonly PackageWork[], installed: number): number {
  const size = sizeFactor(installed + packages.length);
  const names = new Set(packages.map((work) => work.name));
  return Object.entries(state.triggers).reduce((sum, [owner, trigger]) => {
    const possible = trigger.below || installed > 0 || names.has(owner);
    return possible ? sum + likelihood(state, owner, packages) * lowMedianOf(trigger.seconds) * size : sum;
  }, 0);
}

/**
 * How likely a trigger runs. Suspects are packages that were never in a transaction without it: one of them is the cause after the first run
 * (its chance: the share of the suspects that are here), and each is one after many. Packages never seen count by how often it ran at all,
 * if that is more often than not.
 */
function likelihood(state: PackagesState, owner: string, packages: readonly PackageWork[]): number {
  const trigger = known(state.triggers, owner);
  if (trigger === undefined) return 0;
  const seen = packages.filter((work) => Object.hasOwn(state.packages, work.name));
  const all = suspects(state, trigger);
  const here = seen.filter((work) => all.has(work.name)).length;
  const blamed = 1 - (1 - here / Math.max(1, all.size)) ** trigger.runs;
  const rate = trigger.runs / (state.transactions + 1);
  return Math.max(blamed, seen.length < packages.length && rate > 0.5 ? rate : 0);
}

const suspectsOf = new WeakMap<TriggerMemory, { packages: PackagesState['packages']; names: ReadonlySet<string> }>();

function suspects(state: PackagesState, trigger: TriggerMemory): ReadonlySet<string> {
  const ready = suspectsOf.get(trigger);
  if (ready?.packages === state.packages) return ready.names;
  const names = new Set(Object.keys(state.packages).filter((name) => !Object.hasOwn(trigger.without, name)));
  suspectsOf.set(trigger, { packages: state.packages, names });
  return names;
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

function grouped(rows: readonly PackageTiming[]): Map<string, PackageTiming[]> {
  const groups = new Map<string, PackageTiming[]>();
  for (const row of rows) {
    const group = groups.get(row.package);
    if (group === undefined) groups.set(row.package, [row]);
    else group.push(row);
  }
  return groups;
}
