/**
 * RSL 1.0 text to a tree, in one pass and linear time. One leniency: a `+` inside an unquoted word
 * belongs to the word, so that `g++` needs no quotes.
 */
import { GridError } from '../domain/error.js';
import { rslLimits, type RslBoolean, type RslNode, type RslOperator, type RslRelation, type RslValue } from './tree.js';

/** Parses a specification: `&(a=b)...`, `|...`, `+...`, or bare relations. bad-request with line and column otherwise. */
export function parseRsl(text: string): RslNode {
  if (text.length > rslLimits.characters) throw new GridError('too-large', `the RSL text has ${text.length} characters; at most ${rslLimits.characters} are allowed`);
  return new Parser(text).whole();
}

/** A bad-request that points at an offset of the text: "RSL line 2, column 7: ...". */
export function rslError(text: string, offset: number, detail: string, hint?: string): GridError {
  const before = text.slice(0, offset).split('\n');
  const column = (before.at(-1) ?? '').length + 1;
  return new GridError('bad-request', `RSL line ${before.length}, column ${column}: ${detail}`, hint === undefined ? {} : { hint });
}

const space = /[ \t\r\n\v\f]+/y;
const word = /[^ \t\r\n\v\f+&|()=<>!"'^#$][^ \t\r\n\v\f&|()=<>!"'^#$]*/y;
const operator = /!=|<=|>=|=|<|>/y;

class Parser {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): RslNode {
    this.#skip();
    if (this.#done) throw this.#error('the text is empty', 'a request looks like &(count=2)(packages=gcc)');
    const node = this.#specification();
    this.#skip();
    if (!this.#done) throw this.#error(`${this.#seen()} after the end of the request`);
    return node;
  }

  /** Operator and a list of parenthesized parts; bare parts stand for `&`. */
  #specification(): RslBoolean {
    const at = this.#at;
    const sign = this.#text[at];
    if (sign !== '&' && sign !== '|' && sign !== '+' && sign !== '(') throw this.#error(`expected &, |, + or (, found ${this.#seen()}`, 'a request looks like &(count=2)(packages=gcc)');
    if (sign !== '(') this.#at++;
    const children: RslNode[] = [];
    for (this.#skip(); this.#text[this.#at] === '('; this.#skip()) children.push(this.#parenthesized());
    if (children.length === 0) throw this.#error(`expected ( after ${sign}, found ${this.#seen()}`);
    return { kind: 'boolean', operator: sign === '(' ? '&' : sign, children, at };
  }

  #parenthesized(): RslNode {
    const open = this.#open();
    this.#skip();
    const sign = this.#text[this.#at];
    const node = sign === '&' || sign === '|' || sign === '+' || sign === '(' ? this.#specification() : this.#relation();
    this.#close(open);
    return node;
  }

  #relation(): RslRelation {
    const at = this.#at;
    const attribute = this.#literal();
    if (attribute === undefined) throw this.#error(`expected the name of an attribute, found ${this.#seen()}`);
    this.#skip();
    const sign = this.#match(operator) as RslOperator | undefined;
    if (sign === undefined) throw this.#error(`expected = after ${JSON.stringify(attribute.slice(0, 40))}, found ${this.#seen()}`);
    return { kind: 'relation', attribute, operator: sign, values: this.#values(), at };
  }

  /** Values up to the closing parenthesis, which is left. */
  #values(): RslValue[] {
    const values: RslValue[] = [];
    for (this.#skip(); !this.#done && this.#text[this.#at] !== ')'; this.#skip()) values.push(this.#value());
    return values;
  }

  /** One value with all that is joined to it, by `#` or by standing right beside a variable. */
  #value(): RslValue {
    const parts = [this.#simple()];
    for (;;) {
      const end = this.#at;
      this.#skip();
      if (this.#text[this.#at] === '#') {
        this.#at++;
        this.#skip();
      } else if (this.#at !== end || !this.#touches(parts.at(-1))) break;
      parts.push(this.#simple());
    }
    return parts.length === 1 ? (parts[0] as RslValue) : { kind: 'concatenation', parts };
  }

  #touches(previous: RslValue | undefined): boolean {
    const next = this.#text[this.#at];
    if (next === undefined || previous?.kind === 'sequence') return false;
    return next === '$' || (previous?.kind === 'variable' && !'+&|()=<>!'.includes(next));
  }

  #simple(): RslValue {
    const at = this.#at;
    if (this.#text[at] === '(') {
      const open = this.#open();
      const values = this.#values();
      this.#close(open);
      return { kind: 'sequence', values };
    }
    if (this.#text[at] === '$') return this.#variable(at);
    const text = this.#literal();
    if (text === undefined) throw this.#error(`expected a value, found ${this.#seen()}`, 'put values with special signs in double quotes');
    return { kind: 'literal', text };
  }

  #variable(at: number): RslValue {
    this.#at++;
    this.#skip();
    if (this.#text[this.#at] !== '(') throw this.#error(`expected ( after $, found ${this.#seen()}`);
    const open = this.#open();
    this.#skip();
    const name = this.#literal();
    if (name === undefined) throw this.#error(`expected the name of a variable, found ${this.#seen()}`);
    this.#skip();
    const fallback = this.#text[this.#at] === ')' || this.#done ? undefined : this.#value();
    this.#close(open);
    return { kind: 'variable', name, ...(fallback ? { fallback } : {}), at };
  }

  /** A quoted or bare word; undefined if none stands here. */
  #literal(): string | undefined {
    const sign = this.#text[this.#at];
    if (sign === '"' || sign === "'") return this.#quoted(sign, this.#at + 1);
    if (sign !== '^') return this.#match(word);
    const delimiter = this.#text[this.#at + 1];
    if (delimiter === undefined) throw this.#error('the text ends after ^');
    return this.#quoted(delimiter, this.#at + 2);
  }

  /** Text up to the delimiter; the delimiter doubled stands for itself. */
  #quoted(delimiter: string, start: number): string {
    const pieces: string[] = [];
    for (let from = start; ; ) {
      const end = this.#text.indexOf(delimiter, from);
      if (end < 0) throw this.#error(`the quote ${delimiter} is not closed`);
      if (this.#text[end + 1] !== delimiter) {
        pieces.push(this.#text.slice(from, end));
        this.#at = end + 1;
        return pieces.join('');
      }
      pieces.push(this.#text.slice(from, end + 1));
      from = end + 2;
    }
  }

  #open(): number {
    if (++this.#depth > rslLimits.nesting) throw this.#error(`parentheses nested deeper than ${rslLimits.nesting}`);
    return this.#at++;
  }

  #close(open: number): void {
    this.#skip();
    if (this.#done) throw rslError(this.#text, open, 'this ( is not closed');
    if (this.#text[this.#at] !== ')') throw this.#error(`expected ), found ${this.#seen()}`);
    this.#at++;
    this.#depth--;
  }

  /** White space and (* comments *). */
  #skip(): void {
    for (;;) {
      if (this.#match(space) !== undefined) continue;
      if (!this.#text.startsWith('(*', this.#at)) return;
      const end = this.#text.indexOf('*)', this.#at + 2);
      if (end < 0) throw this.#error('this comment (* is not closed');
      this.#at = end + 2;
    }
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  get #done(): boolean {
    return this.#at >= this.#text.length;
  }

  #seen(): string {
    return this.#done ? 'the end' : JSON.stringify(this.#text.slice(this.#at, this.#at + 12));
  }

  #error(detail: string, hint?: string): GridError {
    return rslError(this.#text, this.#at, detail, hint);
  }
}
