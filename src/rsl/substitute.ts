/** Replaces $(NAME) by what the request's own rsl_substitution, or who reads it, says; the result holds plain words only. */
import { canonicalName } from '../domain/request.js';
import type { GridError } from '../domain/error.js';
import { rslError } from './parse.js';
import { rslLimits, type RslRelation, type RslValue } from './tree.js';

export interface PlainRelation {
  readonly attribute: string;
  readonly operator: RslRelation['operator'];
  readonly values: readonly PlainValue[];
  readonly at: number;
}

export type PlainValue = string | readonly PlainValue[];

/**
 * @param text the whole RSL text, for messages
 * @param predefined variables that need no definition; the request's own of the same name wins
 * @returns the relations without rsl_substitution. bad-request for a variable that is not defined, and
 *   when the expanded text passes the limit of the text itself
 */
export function substitute(text: string, relations: readonly RslRelation[], predefined: ReadonlyMap<string, string> = new Map()): PlainRelation[] {
  const expander = new Expander(text, predefined);
  for (const relation of relations.filter(isSubstitution)) expander.define(relation);
  return relations.filter((relation) => !isSubstitution(relation)).map((relation) => ({ ...relation, values: relation.values.map((value) => expander.plain(value, relation.at)) }));
}

function isSubstitution(relation: RslRelation): boolean {
  return canonicalName(relation.attribute) === 'rslsubstitution';
}

class Expander {
  readonly #text: string;
  readonly #defined: Map<string, string>;
  #expanded = 0;

  constructor(text: string, predefined: ReadonlyMap<string, string>) {
    this.#text = text;
    this.#defined = new Map(predefined);
  }

  /** (NAME value) pairs; a later one may use an earlier one. */
  define(relation: RslRelation): void {
    for (const value of relation.values) {
      const pair = this.plain(value, relation.at);
      const [name, content] = Array.isArray(pair) ? (pair as readonly PlainValue[]) : [];
      if (typeof name !== 'string' || typeof content !== 'string' || pair.length !== 2) throw rslError(this.#text, relation.at, 'rsl_substitution takes pairs: (rsl_substitution=(NAME value)...)');
      this.#defined.set(name, content);
    }
  }

  plain(value: RslValue, at: number): PlainValue {
    switch (value.kind) {
      case 'literal':
        return this.#count(value.text, at);
      case 'sequence':
        return value.values.map((each) => this.plain(each, at));
      case 'variable':
        return this.#variable(value);
      case 'concatenation': {
        const parts = value.parts.map((part) => this.plain(part, at));
        if (!parts.every((part) => typeof part === 'string')) throw rslError(this.#text, at, 'a sequence in parentheses cannot be joined with #');
        return this.#count(parts.join(''), at);
      }
      default:
        return value satisfies never;
    }
  }

  #variable(value: RslValue & { kind: 'variable' }): PlainValue {
    const content = this.#defined.get(value.name);
    if (content !== undefined) return this.#count(content, value.at);
    if (value.fallback) return this.plain(value.fallback, value.at);
    throw this.#undefined(value.name, value.at);
  }

  #undefined(name: string, at: number): GridError {
    return rslError(this.#text, at, `the variable ${JSON.stringify(name.slice(0, 80))} is not defined`, 'define it in the request: (rsl_substitution=(NAME value))');
  }

  #count(text: string, at: number): string {
    this.#expanded += text.length;
    if (this.#expanded > 4 * rslLimits.characters) throw rslError(this.#text, at, `the text grows beyond ${4 * rslLimits.characters} characters by its variables`);
    return text;
  }
}
