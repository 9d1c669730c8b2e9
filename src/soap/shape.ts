/**
 * How values stand in XML: each shape is a zod schema that reads what the XML reader gives (text, objects, arrays
 * for repeated elements) and a writer for the way back. One declaration, both directions, so they cannot differ.
 * Objects are strict: an unknown element is refused by name. Elements are written in the order of declaration,
 * which is the order of types.xsd.
 */
import { z } from 'zod';
import { GridError } from '../domain/error.js';
import { escapeXml } from './xml.js';

/** Writes `value` as element(s) of this name; `tag` is the name with its namespace prefix. */
type Write = (tag: string, value: unknown) => string;

export interface Shape<T> {
  readonly schema: z.ZodType<T>;
  readonly write: Write;
  /** The shapes of its children, for an element with children. */
  readonly fields?: Readonly<Record<string, Shape<unknown>>>;
  /** minOccurs/maxOccurs as in the schema file. */
  readonly occurs: 'once' | 'maybe' | 'any';
}

export type Value<S> = S extends Shape<infer T> ? T : never;

/** An optional element: the property is absent or a T, never undefined. */
export interface Maybe<T> extends Shape<T> {
  readonly occurs: 'maybe';
}

type Fields = Readonly<Record<string, Shape<unknown>>>;
type ObjectOf<F extends Fields> = { [K in keyof F as F[K] extends { occurs: 'maybe' } ? never : K]: Value<F[K]> } & {
  [K in keyof F as F[K] extends { occurs: 'maybe' } ? K : never]?: Value<F[K]>;
};
/** Flattens the intersection, so that messages of the compiler can be read. */
type Flat<T> = { [K in keyof T]: T[K] };
/** An element with children: required ones, and those made with `maybe`. */
export interface ElementShape<F extends Fields> extends Shape<Flat<ObjectOf<F>>> {
  readonly occurs: 'once';
  readonly fields: F;
}
interface Once<T> extends Shape<T> {
  readonly occurs: 'once';
}

function leaf<T>(schema: z.ZodType<T>, print: (value: T) => string): Once<T> {
  return { schema, occurs: 'once', write: (tag, value) => `<${tag}>${print(value as T)}</${tag}>` };
}

const oneText = z.string({ error: ({ input }) => (Array.isArray(input) ? 'is given more than once' : input === undefined ? 'is missing' : 'has elements in it, but must be text') });

/** Any text, kept as it is. */
export const text: Once<string> = leaf(oneText, escapeXml);

/** A whole number that a double holds exactly. */
export const whole: Once<number> = leaf(
  oneText.transform((value, context) => {
    const number = /^[ \t\r\n]*[+-]?[0-9]{1,17}[ \t\r\n]*$/.test(value) ? Number(value) : NaN;
    if (Number.isSafeInteger(number)) return number;
    context.addIssue(`is ${JSON.stringify(value.slice(0, 40))}, but must be a whole number`);
    return z.NEVER;
  }),
  (value) => {
    const rounded = Math.round(value); // sums of predictions are sometimes a little off
    if (!Number.isSafeInteger(rounded)) throw new Error(`${value} is not a whole number`);
    return String(rounded);
  },
);

/** A finite number. */
export const real: Once<number> = leaf(
  oneText.transform((value, context) => {
    const number = /^[ \t\r\n]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?[ \t\r\n]*$/.test(value) && value.length < 64 ? Number(value) : NaN;
    if (Number.isFinite(number)) return number;
    context.addIssue(`is ${JSON.stringify(value.slice(0, 40))}, but must be a number`);
    return z.NEVER;
  }),
  (value) => {
    if (!Number.isFinite(value)) throw new Error(`${value} is not a finite number`);
    return String(value);
  },
);

/** xs:boolean: true, false, 1, 0. */
export const flag: Once<boolean> = leaf(
  oneText.transform((value, context) => {
    const word = value.trim();
    if (word === 'true' || word === '1') return true;
    if (word === 'false' || word === '0') return false;
    context.addIssue(`is ${JSON.stringify(value.slice(0, 40))}, but must be true or false`);
    return z.NEVER;
  }),
  String,
);

/** One of a closed set of words. */
export function word<const T extends string>(words: readonly T[]): Once<T> {
  return leaf(
    oneText.transform((value, context) => {
      const found = words.find((one) => one === value.trim());
      if (found !== undefined) return found;
      context.addIssue(`is ${JSON.stringify(value.slice(0, 40))}, but must be one of: ${words.join(', ')}`);
      return z.NEVER;
    }),
    escapeXml,
  );
}

/** minOccurs="0". */
export function maybe<T>(of: Shape<T>): Maybe<T> {
  return {
    schema: z.exactOptional(of.schema) as unknown as z.ZodType<T>,
    occurs: 'maybe',
    write: (tag, value) => (value === undefined ? '' : of.write(tag, value)),
    ...(of.fields ? { fields: of.fields } : {}),
  };
}

/** minOccurs="0" maxOccurs="unbounded": absent is [], a single element an array of one. */
export function list<T>(of: Shape<T>): Shape<readonly T[]> & { readonly occurs: 'any' } {
  const gather = (value: unknown): unknown => (value === undefined ? [] : Array.isArray(value) ? value : [value]);
  return {
    schema: z.preprocess(gather, z.array(of.schema)) as unknown as z.ZodType<readonly T[]>,
    occurs: 'any',
    write: (tag, value) => (value as readonly unknown[]).map((one) => of.write(tag, one)).join(''),
    ...(of.fields ? { fields: of.fields } : {}),
  };
}

/** An element with these children, and no others. */
export function element<F extends Fields>(fields: F): ElementShape<F> {
  const strict = z.strictObject(Object.fromEntries(Object.entries(fields).map(([name, shape]) => [name, shape.schema])), {
    error: (issue) => {
      if (issue.code === 'unrecognized_keys') {
        return `has an unknown element ${issue.keys.slice(0, 3).map((key) => JSON.stringify(key.slice(0, 80))).join(', ')}; it may have: ${Object.keys(fields).join(', ') || 'none'}`;
      }
      return Array.isArray(issue.input) ? 'is given more than once' : issue.input === undefined ? 'is missing' : 'is text, but must have elements in it';
    },
  });
  const emptyToObject = (value: unknown): unknown => (typeof value === 'string' && value.trim() === '' ? {} : value);
  return {
    schema: z.preprocess(emptyToObject, strict) as unknown as z.ZodType<Flat<ObjectOf<F>>>,
    occurs: 'once',
    fields,
    write: (tag, value) => `<${tag}>${writeFields(fields, value, '')}</${tag}>`,
  };
}

/** The children of an element, each with `prefix` before its name. */
export function writeFields(fields: Fields, value: unknown, prefix: string): string {
  const object = value as Readonly<Record<string, unknown>>;
  let xml = '';
  for (const name in fields) {
    const shape = fields[name]!;
    const child = object[name];
    if (child === undefined && shape.occurs !== 'maybe') throw new Error(`the value for the element ${name} is missing`);
    xml += shape.write(prefix + name, child);
  }
  return xml;
}

/** Reads `value` (from plainPayload) by `shape`; bad-request naming the element's path from `what`. */
export function readShape<T>(shape: Shape<T>, value: unknown, what: string): T {
  const result = shape.schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const path = [what, ...issue.path.map(String)].join('/').replaceAll(/\/(\d+)(?=\/|$)/g, '[$1]');
  throw new GridError('bad-request', `${path} ${issue.message}`);
}
