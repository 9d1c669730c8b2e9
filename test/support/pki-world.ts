/** A small world of certificates, forged: an authority, a user under it, a trust directory; verdicts on chains. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import t from 'tap';
import { validateChain } from '../../src/pki/chain.js';
import { readOne } from '../../src/pki/der.js';
import { der, oid, sequence } from '../../src/pki/der-write.js';
import * as oids from '../../src/pki/oids.js';
import { TrustDirectory, type TrustSettings } from '../../src/pki/trust-directory.js';
import * as f from './forge.js';

export const log = pino({ level: 'silent' });
export const home = mkdtempSync(join(tmpdir(), 'gridvc-pki-'));
t.teardown(() => rmSync(home, { recursive: true, force: true }));
let directories = 0;
export const freshDirectory = (): string => join(home, `trust-${directories++}`);
export const hour = (count: number): Date => new Date(Date.now() + count * 3_600_000);

// A small world, forged: an authority, a user under it.
export const ca = f.forge({ subject: '/O=Grid/CN=CA', extensions: f.authorityExtensions, to: 6000 });
export const alice = f.forge({ issuer: ca, subject: '/O=Grid/CN=Alice', extensions: [f.notAuthority, f.keyUsage(0)] });
export const world = freshDirectory();
f.installAuthority(world, ca.pem);

export function trust(directory: string, settings: Partial<TrustSettings> = {}) {
  return TrustDirectory.open(directory, log, settings).current();
}

/** "ok" or the code of the refusal. */
export function verdict(chain: readonly (f.Forged | Uint8Array)[], directory = world, settings: Partial<TrustSettings> = {}, now = new Date()): string {
  const result = validateChain(chain.map((each) => (each instanceof Uint8Array ? each : each.raw)), trust(directory, settings), now);
  return result.ok ? 'ok' : result.refusal.code;
}

export function proxyOf(issuer: f.Forged, extensions: readonly Uint8Array[] = [f.proxyInfo(oids.inheritAll), f.keyUsage(0)], more: Partial<f.Parts> = {}): f.Forged {
  const subject = sequence(readOne(issuer.subject).body, der(0x31, sequence(oid('2.5.4.3'), der(0x13, Buffer.from(String(Math.floor(Math.random() * 1e9)))))));
  return f.forge({ issuer, subject, extensions, ...more });
}

export function onlyThrows(work: () => unknown, kind: new (...words: never[]) => Error): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (error instanceof kind) return true;
    throw error;
  }
}
