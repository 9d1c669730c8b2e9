/** The lines of a file, each about a name or a pattern of names, found again by DN or FQAN; exact names without a search. */
import { comparableForms, matches, type NamePattern } from './name-pattern.js';

export interface NameLine<V> {
  /** From 1. */
  readonly line: number;
  readonly pattern: NamePattern;
  readonly value: V;
}

export class NameLines<V> {
  readonly size: number;
  readonly #exact = new Map<string, NameLine<V>[]>();
  readonly #patterns: readonly NameLine<V>[];

  constructor(lines: readonly NameLine<V>[]) {
    this.size = lines.length;
    this.#patterns = lines.filter(({ pattern }) => pattern.pieces.length > 1);
    for (const each of lines) {
      const [only] = each.pattern.pieces;
      if (each.pattern.pieces.length > 1 || only === undefined) continue;
      const key = `${each.pattern.kind} ${only}`;
      const known = this.#exact.get(key);
      if (known) known.push(each);
      else this.#exact.set(key, [each]);
    }
  }

  /** Lines about this DN, in the order of the file. */
  ofDn(dn: string): readonly NameLine<V>[] {
    return this.#of('dn', dn);
  }

  /** Lines about this FQAN, in the order of the file. */
  ofFqan(fqan: string): readonly NameLine<V>[] {
    return this.#of('fqan', fqan);
  }

  #of(kind: NamePattern['kind'], name: string): readonly NameLine<V>[] {
    const forms = comparableForms(kind, name);
    const exact = forms.flatMap((form) => this.#exact.get(`${kind} ${form}`) ?? []);
    const wide = this.#patterns.filter(({ pattern }) => pattern.kind === kind && matches(pattern, forms));
    return [...exact, ...wide].sort((a, b) => a.line - b.line);
  }
}
