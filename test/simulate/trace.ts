/** A synthetic request trace over real package closures: Zipf-popular functions, drifting slowly. Seedable. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { allNeeds } from '../../src/domain/cache/needs.js';

export interface Closures {
  /** [name, bytes of the .deb, KiB unpacked] */
  readonly packages: readonly (readonly [string, number, number])[];
  /** By package index: what it depends on directly. */
  readonly needs: readonly (readonly number[])[];
  readonly functions: Readonly<Record<string, { readonly asked: readonly string[]; readonly packages: readonly number[] }>>;
}

/** Distinct closures have one id, so that what is computed for one is computed once. */
export interface Closure {
  readonly id: number;
  /** Package indexes, ascending. */
  readonly packages: readonly number[];
}

export interface SimulatedRequest {
  readonly closure: Closure;
  readonly nodes: number;
  /** Hosts that its nodes run on. */
  readonly hosts: readonly number[];
}

export const hostCount = 8;
const nodesPerHost = 4;
const driftEvery = 500; // requests; then two neighbours in popularity change places

/** Park-Miller: small, known, enough for a trace. */
export function randomOf(seed: number): () => number {
  let state = (Math.abs(Math.trunc(seed)) % 2147483646) + 1;
  for (let i = 0; i < 10; i += 1) state = (state * 48271) % 2147483647;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

export function readClosures(): Closures {
  return JSON.parse(readFileSync(join(import.meta.dirname, '../../../test/data/closures.json'), 'utf8')) as Closures;
}

/** Unions of functions become closures, each distinct set once. */
export class ClosureBook {
  private readonly byKey = new Map<string, Closure>();

  /** A package with all that it needs, directly or not. */
  readonly needs: (index: number) => readonly number[];

  constructor(readonly data: Closures) {
    this.needs = allNeeds((index: number) => data.needs[index] ?? []);
  }

  union(names: readonly string[]): Closure {
    return this.of(names.flatMap((name) => this.data.functions[name]?.packages ?? []));
  }

  of(packages: readonly number[]): Closure {
    const sorted = [...new Set(packages)].sort((a, b) => a - b);
    const key = sorted.join();
    const known = this.byKey.get(key) ?? { id: this.byKey.size, packages: sorted };
    this.byKey.set(key, known);
    return known;
  }
}

/** One to three functions a request (50, 35, 15 %), each drawn by Zipf's law; 1, 2, 4, 8 or 16 nodes. */
export function makeTrace(book: ClosureBook, options: { seed: number; requests: number; zipf: number }): readonly SimulatedRequest[] {
  const random = randomOf(options.seed);
  const names = Object.keys(book.data.functions);
  const weights = names.map((_, rank) => 1 / (rank + 1) ** options.zipf);
  const total = weights.reduce((a, b) => a + b, 0);
  const draw = (): string => {
    let at = random() * total;
    return names[Math.max(0, weights.findIndex((weight) => (at -= weight) <= 0))] ?? '';
  };
  return Array.from({ length: options.requests }, (_, i) => {
    if (i > 0 && i % driftEvery === 0) swap(names, Math.floor(random() * (names.length - 1)));
    const kind = random();
    const wanted = kind < 0.5 ? 1 : kind < 0.85 ? 2 : 3;
    const nodes = 2 ** Math.floor(random() * 5);
    const first = Math.floor(random() * hostCount);
    const hosts = Array.from({ length: Math.min(hostCount, Math.ceil(nodes / nodesPerHost)) }, (_, h) => (first + h) % hostCount);
    return { closure: book.union(Array.from({ length: wanted }, draw)), nodes, hosts };
  });
}

function swap(names: string[], at: number): void {
  const [a = '', b = ''] = names.slice(at, at + 2);
  names.splice(at, 2, b, a);
}
