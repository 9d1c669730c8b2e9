/**
 * Strict reader of DER (X.690): definite minimal lengths, single-byte tags, nothing after the end.
 * Everything here reads bytes from strangers before they are authenticated, so it never recurses by
 * itself, never copies more than a view, and throws only DerError.
 */

/** The bytes are not DER, or not the DER that was expected here. */
export class DerError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DerError';
  }
}

/** One value: its tag byte, all its bytes, and its content. Views, not copies. */
export interface Der {
  readonly tag: number;
  readonly raw: Uint8Array;
  readonly body: Uint8Array;
}

export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8: 0x0c,
  printable: 0x13,
  ia5: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Tag of a context-specific value: `context(0)` constructed, `context(0, false)` primitive. */
export function context(number: number, constructed = true): number {
  return (constructed ? 0xa0 : 0x80) | number;
}

/** Walks the values that stand one after the other in `bytes`. */
export class DerReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** Tag of the next value, or undefined at the end. */
  peek(): number | undefined {
    return this.#bytes[this.#at];
  }

  /** The next value; a DerError if there is none, or if it has another tag than the one asked for. */
  next(tag?: number): Der {
    const value = readAt(this.#bytes, this.#at);
    if (tag !== undefined && value.tag !== tag) throw new DerError(`expected tag ${hex(tag)}, found ${hex(value.tag)}`);
    this.#at += value.raw.length;
    return value;
  }

  /** The next value if it has this tag, else undefined. */
  optional(tag: number): Der | undefined {
    return this.peek() === tag ? this.next(tag) : undefined;
  }

  /** Refuses anything that is left. */
  end(): void {
    if (!this.done) throw new DerError(`${this.#bytes.length - this.#at} bytes after the end`);
  }
}

function hex(tag: number): string {
  return `0x${tag.toString(16).padStart(2, '0')}`;
}

function readAt(bytes: Uint8Array, at: number): Der {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined) throw new DerError('ends in the middle of a value');
  if ((tag & 0x1f) === 0x1f) throw new DerError(`tag ${hex(tag)} has more than one byte`);
  let start = at + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 4) throw new DerError('indefinite or absurd length');
    length = 0;
    for (let i = 0; i < count; i++) {
      const byte = bytes[start++];
      if (byte === undefined) throw new DerError('ends in the middle of a length');
      length = length * 256 + byte;
    }
    if (length < 0x80 || (count > 1 && length < 2 ** (8 * (count - 1)))) throw new DerError('length is not minimal');
  }
  const end = start + length;
  if (end > bytes.length) throw new DerError('a value is longer than what holds it');
  return { tag, raw: bytes.subarray(at, end), body: bytes.subarray(start, end) };
}

/** The one value that `bytes` is, whole. */
export function readOne(bytes: Uint8Array, tag?: number): Der {
  const reader = new DerReader(bytes);
  const value = reader.next(tag);
  reader.end();
  return value;
}

/** All values inside a constructed one. At most `most` of them. */
export function readChildren(value: Der, most = 4096): Der[] {
  const reader = new DerReader(value.body);
  const children: Der[] = [];
  while (!reader.done) {
    if (children.length === most) throw new DerError(`more than ${most} values in one`);
    children.push(reader.next());
  }
  return children;
}

/** Dotted text of an OID value. */
export function readOid(value: Der): string {
  expect(value, tags.oid);
  const { body } = value;
  if (body.length === 0 || body.length > 64 || (body.at(-1) ?? 0) >= 0x80) throw new DerError('malformed object identifier');
  const arcs: bigint[] = [];
  let arc = 0n;
  let fresh = true;
  for (const byte of body) {
    if (fresh && byte === 0x80) throw new DerError('object identifier is not minimal');
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    fresh = byte < 0x80;
    if (!fresh) continue;
    arcs.push(arc);
    arc = 0n;
  }
  const first = arcs[0] ?? 0n;
  const top = first < 40n ? 0n : first < 80n ? 1n : 2n;
  return [top, first - top * 40n, ...arcs.slice(1)].join('.');
}

/** Bytes of an INTEGER, two's complement, minimal. */
export function readInteger(value: Der, tag: number = tags.integer): Uint8Array {
  expect(value, tag);
  const [first, second] = value.body;
  if (first === undefined) throw new DerError('empty integer');
  if (second !== undefined && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80))) throw new DerError('integer is not minimal');
  return value.body;
}

/** A small INTEGER, 0 to 2^31-1. */
export function readSmall(value: Der, tag: number = tags.integer): number {
  const bytes = readInteger(value, tag);
  if (bytes.length > 4 || (bytes[0] ?? 0) >= 0x80) throw new DerError('integer is negative or too large');
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0);
}

/** BOOLEAN in DER is 00 or FF. */
export function readBoolean(value: Der): boolean {
  expect(value, tags.boolean);
  const [byte] = value.body;
  if (value.body.length !== 1 || (byte !== 0 && byte !== 0xff)) throw new DerError('malformed boolean');
  return byte === 0xff;
}

/** BIT STRING: its bytes and how many bits of the last one do not count (they must be zero). */
export function readBits(value: Der, tag: number = tags.bitString): { bytes: Uint8Array; unused: number } {
  expect(value, tag);
  const unused = value.body[0];
  const bytes = value.body.subarray(1);
  if (unused === undefined || unused > 7 || (bytes.length === 0 && unused > 0)) throw new DerError('malformed bit string');
  if (((bytes.at(-1) ?? 0) & ((1 << unused) - 1)) !== 0) throw new DerError('bit string has bits after its end');
  return { bytes, unused };
}

const timePattern = /^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/;

/** UTCTime or GeneralizedTime, in the only form RFC 5280 allows (seconds, Z). Unix ms. */
export function readTime(value: Der): number {
  const generalized = value.tag === tags.generalizedTime;
  if (!generalized && value.tag !== tags.utcTime) throw new DerError(`expected a time, found tag ${hex(value.tag)}`);
  const text = Buffer.from(value.body).toString('latin1');
  const match = text.length === (generalized ? 15 : 13) ? timePattern.exec(text) : null;
  if (!match) throw new DerError('malformed time');
  const [short = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const year = generalized ? short : short < 50 ? 2000 + short : 1900 + short;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const same = date.getUTCMonth() === month - 1 && date.getUTCDate() === day && date.getUTCHours() === hour && date.getUTCMinutes() === minute;
  if (!same || second > 59) throw new DerError('a time that does not exist');
  return date.getTime();
}

/** Refuses a value of another tag. */
export function expect(value: Der, tag: number): Der {
  if (value.tag !== tag) throw new DerError(`expected tag ${hex(tag)}, found ${hex(value.tag)}`);
  return value;
}

/** True if both hold the same bytes. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
