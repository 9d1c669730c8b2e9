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

/** One value: its tag byte, all its bytes, and its content. Views, not copies, made when they are asked for: they cost more than the reading. */
export class Der {
  constructor(
    readonly tag: number,
    readonly bytes: Buffer,
    readonly at: number,
    readonly start: number,
    readonly end: number,
  ) {}

  get raw(): Uint8Array {
    return this.bytes.subarray(this.at, this.end);
  }

  get body(): Uint8Array {
    return this.bytes.subarray(this.start, this.end);
  }
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

/** Walks the values that stand one after the other in `bytes`, or inside a value. */
export class DerReader {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(whole: Uint8Array | Der) {
    const inside = whole instanceof Der;
    this.#bytes = inside ? whole.bytes : asBuffer(whole);
    this.#at = inside ? whole.start : 0;
    this.#end = inside ? whole.end : whole.length;
  }

  get done(): boolean {
    return this.#at === this.#end;
  }

  /** Tag of the next value, or undefined at the end. */
  peek(): number | undefined {
    return this.done ? undefined : this.#bytes[this.#at];
  }

  /** The next value; a DerError if there is none, or if it has another tag than the one asked for. */
  next(tag?: number): Der {
    const value = readAt(this.#bytes, this.#at, this.#end);
    if (tag !== undefined && value.tag !== tag) throw new DerError(`expected tag ${hex(tag)}, found ${hex(value.tag)}`);
    this.#at = value.end;
    return value;
  }

  /** The next value if it has this tag, else undefined. */
  optional(tag: number): Der | undefined {
    return this.peek() === tag ? this.next(tag) : undefined;
  }

  /** Refuses anything that is left. */
  end(): void {
    if (!this.done) throw new DerError(`${this.#end - this.#at} bytes after the end`);
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function hex(tag: number): string {
  return `0x${tag.toString(16).padStart(2, '0')}`;
}

function readAt(bytes: Buffer, at: number, most: number): Der {
  if (at + 2 > most) throw new DerError('ends in the middle of a value');
  const tag = bytes[at] as number;
  const first = bytes[at + 1] as number;
  if ((tag & 0x1f) === 0x1f) throw new DerError(`tag ${hex(tag)} has more than one byte`);
  if (first < 0x80) return checkedEnd(new Der(tag, bytes, at, at + 2, at + 2 + first), most);
  const count = first & 0x7f;
  if (count === 0 || count > 4) throw new DerError('indefinite or absurd length');
  const start = at + 2 + count;
  if (start > most) throw new DerError('ends in the middle of a length');
  let length = 0;
  for (let i = at + 2; i < start; i++) length = length * 256 + (bytes[i] as number);
  if (length < 0x80 || (count > 1 && length < 2 ** (8 * (count - 1)))) throw new DerError('length is not minimal');
  return checkedEnd(new Der(tag, bytes, at, start, start + length), most);
}

function checkedEnd(value: Der, most: number): Der {
  if (value.end > most) throw new DerError('a value is longer than what holds it');
  return value;
}

/** The one value that `bytes` is, whole. */
export function readOne(bytes: Uint8Array | Der, tag?: number): Der {
  const reader = new DerReader(bytes);
  const value = reader.next(tag);
  reader.end();
  return value;
}

/** All values inside a constructed one. At most `most` of them. */
export function readChildren(value: Der, most = 4096): Der[] {
  const reader = new DerReader(value);
  const children: Der[] = [];
  while (!reader.done) {
    if (children.length === most) throw new DerError(`more than ${most} values in one`);
    children.push(reader.next());
  }
  return children;
}

const knownOids = new Map<string, string>();
const mostKnownOids = 512;

/** Dotted text of an OID value. The texts of some hundred OIDs are remembered: the same few stand in every certificate. */
export function readOid(value: Der): string {
  expect(value, tags.oid);
  const bytes = value.bytes.toString('latin1', value.start, value.end);
  const known = knownOids.get(bytes);
  if (known !== undefined) return known;
  const text = oidText(value.body);
  if (knownOids.size < mostKnownOids) knownOids.set(bytes, text);
  return text;
}

function oidText(body: Uint8Array): string {
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
