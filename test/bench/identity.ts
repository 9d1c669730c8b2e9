/** What validation costs in this process: two proxies under a user, trust directory loaded; a long CRL; logins that are refused. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { validateChain } from '../../src/pki/chain.js';
import { issueCertificate, issueProxy, makeAuthority, makeKey, type Issuer, type KeyKind } from '../../src/pki/issue.js';
import { certificatesOf } from '../../src/pki/pem.js';
import { TrustDirectory } from '../../src/pki/trust-directory.js';
import type { Trust } from '../../src/pki/trust.js';
import * as f from '../support/forge.js';

const hours = (count: number): Date => new Date(Date.now() + count * 3_600_000);

/** Median milliseconds of each case, in a process that has served some hundred logins: with fresh users (nothing of them remembered) and with one that comes again. */
export async function identityCosts(): Promise<Record<string, number>> {
  const home = mkdtempSync(join(tmpdir(), 'gridvc-bench-identity-'));
  try {
    const costs: Record<string, number> = {};
    for (const kind of ['ec', 'rsa'] as const) Object.assign(costs, await costsOf(kind, join(home, kind)));
    return costs;
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

async function costsOf(kind: KeyKind, directory: string): Promise<Record<string, number>> {
  const ca = await makeAuthority({ subject: '/O=Grid/CN=Bench CA', days: 10, kind });
  const hash = f.installAuthority(directory, ca.certificate);
  const users = await Promise.all(Array.from({ length: 1200 }, (_, index) => chainOf(ca, kind, `/O=Grid/CN=User ${index}`)));
  const [one = []] = users;
  const trust = TrustDirectory.open(directory, pino({ level: 'silent' })).current();
  const bad = { expired: new Date(Date.now() + 1e12), now: new Date() };
  const [leaf = new Uint8Array(), ...rest] = one;
  const forged = Buffer.from(leaf);
  forged[forged.length - 3] = (forged.at(-3) ?? 0) ^ 1;
  const stranger = await makeAuthority({ subject: '/O=Other/CN=CA', days: 10, kind });
  const unknown = await chainOf(stranger, kind, '/O=Grid/CN=Stranger');
  const first = users.map((chain) => timed(() => expectVerdict(chain, trust, bad.now, 'ok')));
  f.installLongCrl(directory, hash, ca, 20_000);
  const listed = TrustDirectory.open(directory, pino({ level: 'silent' })).current();
  const good = (): void => expectVerdict(one, trust, bad.now, 'ok');
  return {
    [`${kind}: two proxies, first visit`]: median(first.slice(600)),
    [`${kind}: two proxies, again`]: repeated(good),
    [`${kind}: the same with a CRL of 20,000 entries`]: repeated(() => expectVerdict(one, listed, bad.now, 'ok')),
    [`${kind}: refused, expired`]: repeated(() => expectVerdict(one, trust, bad.expired, 'expired')),
    [`${kind}: refused, unknown authority`]: repeated(() => expectVerdict(unknown, trust, bad.now, 'unknown-authority')),
    [`${kind}: refused, leaf forged`]: repeated(() => expectVerdict([forged, ...rest], trust, bad.now, 'bad-signature')),
  };
}

async function chainOf(ca: Issuer, kind: KeyKind, subject: string): Promise<Uint8Array[]> {
  const key = await userKey(kind);
  const { certificate } = await issueCertificate({ issuer: ca, subject, publicKey: key.publicKey, notAfter: hours(200), usage: 'user' });
  const first = await issueProxy({ issuer: { certificate, key: key.key }, notAfter: hours(20), publicKey: key.publicKey });
  const second = await issueProxy({ issuer: { certificate: first.chain, key: key.key }, notAfter: hours(10), publicKey: key.publicKey });
  return certificatesOf(second.chain);
}

/** RSA keys take 100 ms each: they are made once. */
const keys = new Map<KeyKind, ReturnType<typeof makeKey>>();
const userKey = (kind: KeyKind): ReturnType<typeof makeKey> => keys.get(kind) ?? (keys.set(kind, makeKey(kind)).get(kind) as ReturnType<typeof makeKey>);

function expectVerdict(chain: readonly Uint8Array[], trust: Trust, now: Date, wanted: string): void {
  const verdict = validateChain(chain, trust, now);
  const got = verdict.ok ? 'ok' : verdict.refusal.code;
  if (got !== wanted) throw new Error(`${got} instead of ${wanted}`);
}

function timed(work: () => void): number {
  const begun = performance.now();
  work();
  return performance.now() - begun;
}

function repeated(work: () => void): number {
  return median(Array.from({ length: 300 }, () => timed(work)));
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? NaN;
}

export async function identity(): Promise<void> {
  for (const [name, ms] of Object.entries(await identityCosts())) console.log(`${name}: ${ms.toFixed(3)} ms`);
}
