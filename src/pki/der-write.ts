/**
 * Writes DER. Small on purpose: what gridvc issues needs a dozen types, and names must be copied
 * byte for byte. (Measured: a certificate made with @peculiar/x509 took 2.6-7 ms, with this 0.5 ms.)
 */
import { context, tags } from './der.js';

/** One value: tag, minimal length, the parts as content. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag, ...lengthBytes(body.length)]), body]);
}

function lengthBytes(length: number): number[] {
  if (length < 0x80) return [length];
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return [0x80 | bytes.length, ...bytes];
}

export function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  return der(tags.sequence, ...parts);
}

/** SET OF: DER wants the members in the order of their bytes. */
export function setOf(...parts: readonly Uint8Array[]): Uint8Array {
  return der(tags.set, ...[...parts].sort(Buffer.compare));
}

/** EXPLICIT [number]. */
export function explicit(number: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return der(context(number), ...parts);
}

export function oid(dotted: string): Uint8Array {
  const [top = 0n, second = 0n, ...rest] = dotted.split('.').map(BigInt);
  return der(tags.oid, Buffer.from([top * 40n + second, ...rest].flatMap(base128)));
}

function base128(arc: bigint): number[] {
  const bytes = [Number(arc & 0x7fn)];
  for (let rest = arc >> 7n; rest > 0n; rest >>= 7n) bytes.unshift(Number(rest & 0x7fn) | 0x80);
  return bytes;
}

/** INTEGER from the big-endian bytes of a number that is not negative. */
export function positive(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const rest = bytes.subarray(start);
  return (rest[0] ?? 0) >= 0x80 ? der(tags.integer, Buffer.from([0]), rest) : der(tags.integer, rest.length ? rest : Buffer.from([0]));
}

export function small(number: number): Uint8Array {
  return positive(Buffer.from(number.toString(16).padStart(8, '0'), 'hex'));
}

export function boolean(value: boolean): Uint8Array {
  return der(tags.boolean, Buffer.from([value ? 0xff : 0]));
}

export function octets(...parts: readonly Uint8Array[]): Uint8Array {
  return der(tags.octetString, ...parts);
}

/** BIT STRING of whole bytes. */
export function bits(bytes: Uint8Array): Uint8Array {
  return der(tags.bitString, Buffer.from([0]), bytes);
}

/** BIT STRING of named bits (KeyUsage): bit 0 is the highest of the first byte; trailing zero bits are left off. */
export function namedBits(numbers: readonly number[]): Uint8Array {
  const last = Math.max(...numbers);
  const bytes = Buffer.alloc(Math.floor(last / 8) + 1);
  for (const bit of numbers) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return der(tags.bitString, Buffer.from([7 - (last & 7)]), bytes);
}

/** UTCTime to 2049, GeneralizedTime after (RFC 5280, 4.1.2.5). Milliseconds are cut. */
export function time(date: Date): Uint8Array {
  const text = date.toISOString().replace(/[-:T]|\.\d+/g, '');
  const year = date.getUTCFullYear();
  return year >= 1950 && year < 2050 ? der(tags.utcTime, Buffer.from(text.slice(2))) : der(tags.generalizedTime, Buffer.from(text));
}
