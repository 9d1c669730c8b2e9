/** Reading OpenSSH known_hosts files: which public keys may a host show. Pure. */
import { createHmac, timingSafeEqual } from 'node:crypto';

export interface KnownKey {
  readonly type: string;
  /** The key blob as it goes over the wire. */
  readonly blob: Buffer;
  readonly revoked: boolean;
}

/** All keys that `text` has for the host at this address and port. Certificate authorities are left out: we do not use them. */
export function knownKeys(text: string, address: string, port: number): KnownKey[] {
  const name = port === 22 ? address : `[${address}]:${port}`;
  return text.split('\n').flatMap((line) => {
    const words = line.trim().split(/\s+/);
    const marker = words[0]?.startsWith('@') ? words.shift() : undefined;
    const [patterns, type, base64] = words;
    if (patterns === undefined || type === undefined || base64 === undefined || patterns.startsWith('#')) return [];
    if (marker === '@cert-authority' || !matches(patterns, name.toLowerCase())) return [];
    return [{ type, blob: Buffer.from(base64, 'base64'), revoked: marker === '@revoked' }];
  });
}

/** True if `shown` is one of `keys` and not revoked. */
export function isKnown(keys: readonly KnownKey[], shown: Uint8Array): boolean {
  const same = keys.filter((key) => key.blob.equals(shown));
  return same.length > 0 && !same.some((key) => key.revoked);
}

function matches(patterns: string, name: string): boolean {
  if (patterns.startsWith('|1|')) return hashMatches(patterns, name);
  const all = patterns.toLowerCase().split(',');
  if (all.some((pattern) => pattern.startsWith('!') && globMatches(pattern.slice(1), name))) return false;
  return all.some((pattern) => globMatches(pattern, name));
}

function hashMatches(hashed: string, name: string): boolean {
  const [, , salt, digest] = hashed.split('|');
  if (salt === undefined || digest === undefined) return false;
  const expected = Buffer.from(digest, 'base64');
  const actual = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest();
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

function globMatches(pattern: string, name: string): boolean {
  const source = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.');
  return new RegExp(`^${source}$`).test(name);
}
