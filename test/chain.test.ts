/** The validator against the outside world: x509-limbo, OpenSSL on mutated chains, credentials of real grid tools, the command line. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readCertificate } from '../src/pki/certificate.js';
import { validateChain } from '../src/pki/chain.js';
import { readCrl } from '../src/pki/crl.js';
import { certificatesOf, readPem } from '../src/pki/pem.js';
import { assembleAuthorities, defaultTrustSettings, type Trust, type TrustFile } from '../src/pki/trust.js';
import { deviations } from './support/limbo-deviations.js';

const root = join(import.meta.dirname, '..', '..');

// ---------------------------------------------------------------- x509-limbo

interface LimboCase {
  readonly id: string;
  readonly expected_result: 'SUCCESS' | 'FAILURE';
  readonly validation_kind: 'SERVER' | 'CLIENT';
  readonly trusted_certs: readonly string[];
  readonly untrusted_intermediates: readonly string[];
  readonly peer_certificate: string;
  readonly validation_time: string | null;
  readonly max_chain_depth: number | null;
  readonly extended_key_usage: readonly string[];
  readonly crls: readonly string[];
}

/** Path cases only: what belongs to web servers alone (names of hosts, the CA/Browser forum's rules) is no business of ours. */
const pathFamilies = /^(crl|cve|invalid|pathlen|pathological|rfc5280)::/;
const limbo = [join(root, '../shared/x509-limbo.json'), '/work/shared/x509-limbo.json'].find((file) => existsSync(file));

function judge(each: LimboCase): string {
  try {
    const usage = each.validation_kind === 'SERVER' && !each.extended_key_usage.includes('clientAuth') ? 'server' : 'client';
    const chain = [each.peer_certificate, ...each.untrusted_intermediates].flatMap(certificatesOf);
    const verdict = validateChain(chain, limboTrust(each), each.validation_time === null ? new Date() : new Date(each.validation_time), { usage });
    return verdict.ok ? 'ok' : `${verdict.refusal.code}: ${verdict.refusal.check}`;
  } catch (error) {
    if ((error as Error).name === 'DerError') return `malformed trust: ${(error as Error).message}`;
    throw error;
  }
}

function limboTrust(each: LimboCase): Trust {
  const files: TrustFile[] = [
    ...each.trusted_certs.flatMap((pem) => certificatesOf(pem)).map((raw, index): TrustFile => ({ kind: 'authority', file: `root ${index}`, certificate: readCertificate(raw) })),
    ...each.crls.flatMap((pem) => readPem(pem)).map(({ der }, index): TrustFile => ({ kind: 'crl', file: `crl ${index}`, crl: readCrl(der) })),
  ];
  const { authorities } = assembleAuthorities(new Map([['all', files]]), { policyFileOf: () => '', sha1: false });
  const trusted = new Map([...authorities].map(([name, list]) => [name, list.map((authority) => ({ ...authority, anchor: true, policy: 'any' as const }))]));
  return { directory: 'x509-limbo', authorities: trusted, settings: { ...defaultTrustSettings, intermediates: 'sent', depth: each.max_chain_depth ?? defaultTrustSettings.depth } };
}

t.test('x509-limbo: path cases', { skip: limbo === undefined ? '../shared/x509-limbo.json is not there' : false }, async (t) => {
  const cases = (JSON.parse(readFileSync(limbo ?? '', 'utf8')) as { testcases: LimboCase[] }).testcases.filter(({ id }) => pathFamilies.test(id));
  let passed = 0;
  let slowest = 0;
  for (const each of cases) {
    const begun = performance.now();
    const verdict = judge(each);
    slowest = Math.max(slowest, performance.now() - begun);
    const right = (verdict === 'ok') === (each.expected_result === 'SUCCESS');
    const deviation = deviations[each.id];
    if (right) passed += 1;
    if (right === (deviation === undefined)) continue;
    t.fail(`${each.id}: wants ${each.expected_result}, is ${verdict}${deviation ? `; it is listed as a deviation (${deviation})` : ''}`);
  }
  t.comment(`${passed} of ${cases.length} pass; slowest ${slowest.toFixed(1)} ms`);
  t.ok(passed >= 115, `${passed} of ${cases.length}: OpenSSL with -x509_strict passes 115`);
  t.ok(slowest < 1000, `the slowest took ${slowest.toFixed(0)} ms`);
});
