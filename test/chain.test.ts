/** The validator against the outside world: x509-limbo, OpenSSL on mutated chains, credentials of real grid tools, the command line. */
import { spawn, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import t from 'tap';
import { readCertificate } from '../src/pki/certificate.js';
import { validateChain } from '../src/pki/chain.js';
import { readOne } from '../src/pki/der.js';
import { der, oid, sequence } from '../src/pki/der-write.js';
import { readCrl } from '../src/pki/crl.js';
import { issueCertificate, issueProxy, makeAuthority, makeKey } from '../src/pki/issue.js';
import * as oids from '../src/pki/oids.js';
import { certificatesOf, readPem } from '../src/pki/pem.js';
import { assembleAuthorities, defaultTrustSettings, type Trust, type TrustFile } from '../src/pki/trust.js';
import { TrustDirectory } from '../src/pki/trust-directory.js';
import * as f from './support/forge.js';
import { deviations } from './support/limbo-deviations.js';
import { makeMutant, makeWorld, pemOf, seeded, type Mutant, type World } from './support/mutants.js';

const silent = pino({ level: 'silent' });
const home = mkdtempSync(join(tmpdir(), 'gridvc-chain-'));
t.teardown(() => rmSync(home, { recursive: true, force: true }));

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
const limbo = [join(root, '../shared/x509-limbo.json'), join(root, '../../shared/x509-limbo.json')].find((file) => existsSync(file));

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

// ---------------------------------------------------------------- OpenSSL

/** Why we refuse what OpenSSL accepts: our refusal, and the reason why it stands. */
const stricter: readonly (readonly [RegExp, string])[] = [
  [/^bad-proxy: its ProxyCertInfo extension is not critical/, 'RFC 3820, 3.8: it must be critical, else software that knows no proxies takes them for users'],
  [/^bad-proxy: its policy language .* is not supported/, 'RFC 3820, 4.1: a policy that is not understood grants nothing'],
  [/^bad-proxy: a policy text stands beside/, 'RFC 3820, 3.8.2: inheritAll and independent have no policy text'],
  [/^bad-proxy: a full proxy under a limited one/, 'Globus, caNl and LCMAPS refuse it: a limited proxy must not give itself more'],
  [/^bad-proxy: the key usage of a proxy may not allow it to sign certificates/, 'RFC 3820, 3.5: a proxy signs proxies as a user does, never as an authority'],
  [/^malformed: its key usage allows it to sign certificates/, 'RFC 5280, 4.2.1.3: keyCertSign without cA'],
  [/^malformed: /, 'not the DER that RFC 5280 asks for; OpenSSL reads BER and passes over some faults'],
];

/** Why we accept what OpenSSL refuses. */
const milder: Readonly<Record<string, string>> = {
};

const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';
t.test('thousands of mutated chains: OpenSSL agrees, or the difference is explained', { skip: noOpenssl }, async (t) => {
  const world = makeWorld();
  const trustDir = join(home, 'differential');
  for (const authority of world.authorities) f.installAuthority(trustDir, authority.pem);
  const trust = TrustDirectory.open(trustDir, silent).current();
  const begun = performance.now();
  const mutants = Array.from({ length: 3000 }, (_, number) => makeMutant(world, number));
  const theirs = opensslVerdicts(world, mutants);
  const classes = new Map<string, number>();
  const tell = (name: string): void => void classes.set(name, (classes.get(name) ?? 0) + 1);
  for (const [number, { chain, faults }] of mutants.entries()) {
    const verdict = validateChain(chain, trust, new Date());
    const ours = verdict.ok ? '' : `${verdict.refusal.code}: ${verdict.refusal.check}`;
    const openssl = theirs[number] === true;
    if (verdict.ok === openssl) tell(openssl ? 'both accept' : 'both refuse');
    else {
      const reason = verdict.ok ? faults.map((fault) => milder[fault]).find((known) => known !== undefined) : stricter.find(([pattern]) => pattern.test(ours))?.[1];
      tell(`${verdict.ok ? 'we accept' : 'we refuse'}: ${reason ?? 'NOT EXPLAINED'}`);
      if (reason === undefined) t.fail(`chain ${number} (${faults.join(', ')}): ours ${ours || 'ok'}, OpenSSL ${openssl ? 'ok' : 'refuses'}`);
    }
  }
  for (const [name, count] of classes) t.comment(`${count} ${name}`);
  t.ok((classes.get('both accept') ?? 0) > 300 && (classes.get('both refuse') ?? 0) > 300, 'both verdicts are common');
  t.ok(performance.now() - begun < 60_000, `${((performance.now() - begun) / 1000).toFixed(1)} s`);
});

/** Sixty chains a run: starting openssl costs more than verifying. What OpenSSL cannot parse is refused. */
function opensslVerdicts(world: World, mutants: readonly Mutant[]): boolean[] {
  const folder = join(home, 'openssl');
  mkdirSync(folder);
  writeFileSync(join(folder, 'roots.pem'), world.authorities[0]?.pem ?? '');
  const verdicts: boolean[] = [];
  for (let start = 0; start < mutants.length; start += 60) {
    const batch = mutants.slice(start, start + 60);
    const readable = batch.map(({ chain }) => chain.every(parses));
    const leaves = batch.flatMap(({ chain }, index) => {
      const file = join(folder, `${start + index}.pem`);
      if (readable[index]) writeFileSync(file, pemOf(chain.slice(0, 1)));
      return readable[index] ? [file] : [];
    });
    writeFileSync(join(folder, 'sent.pem'), (world.authorities[1]?.pem ?? '') + pemOf(batch.filter((_, index) => readable[index]).flatMap(({ chain }) => chain.slice(1))));
    const ran = spawnSync('openssl', ['verify', '-allow_proxy_certs', '-purpose', 'sslclient', '-auth_level', '2', '-CAfile', join(folder, 'roots.pem'), '-untrusted', join(folder, 'sent.pem'), ...leaves], { encoding: 'utf8' });
    verdicts.push(...batch.map((_, index) => readable[index] === true && ran.stdout.includes(`${join(folder, `${start + index}.pem`)}: OK\n`)));
  }
  return verdicts;
}

function parses(raw: Uint8Array): boolean {
  try {
    return new X509Certificate(raw).publicKey !== undefined;
  } catch {
    return false;
  }
}

// ---------------------------------------------------------------- credentials of the real tools

const noTool = (name: string): string | false => (spawnSync('which', [name]).status === 0 ? false : `${name} is not installed`);

/** A trust directory, a user and a VOMS server in files, as the Debian tools want them. */
async function toolWorld(folder: string): Promise<{ folder: string; trustDir: string; vomsdir: string; file: (name: string) => string; env: NodeJS.ProcessEnv }> {
  const file = (name: string): string => join(folder, name);
  const vomsdir = file('vomsdir');
  mkdirSync(join(vomsdir, 'gridvo'), { recursive: true });
  const ca = await makeAuthority({ subject: '/O=Grid/CN=Tools CA', days: 10, kind: 'rsa' });
  f.installAuthority(file('trust'), ca.certificate);
  for (const [name, subject, usage] of [['user', '/O=Grid/CN=Alice', 'user'], ['other', '/O=Grid/CN=Bob', 'user'], ['host', '/O=Grid/CN=voms.example.org', 'host']] as const) {
    const key = await makeKey('rsa');
    const { certificate } = await issueCertificate({ issuer: ca, subject, publicKey: key.publicKey, notAfter: new Date(Date.now() + 5e8), usage });
    writeFileSync(file(`${name}cert.pem`), certificate);
    writeFileSync(file(`${name}key.pem`), key.key, { mode: 0o600 });
  }
  return { folder, trustDir: file('trust'), vomsdir, file, env: { ...process.env, HOME: folder, RANDFILE: file('.rnd'), X509_CERT_DIR: file('trust') } };
}

t.test('VOMS: proxies of voms-proxy-fake', { skip: noTool('voms-proxy-fake') }, async (t) => {
  const { trustDir, vomsdir, file, env } = await toolWorld(join(home, 'voms'));
  const lsc = join(vomsdir, 'gridvo', 'voms.example.org.lsc');
  const right = '/O=Grid/CN=voms.example.org\n/O=Grid/CN=Tools CA\n';
  const fake = (out: string, words: readonly string[] = [], user = 'user', fqans = ['/gridvo/prod/Role=pilot', '/gridvo', '/gridvo/test']): Uint8Array[] => {
    const made = spawnSync('voms-proxy-fake', ['-cert', file(`${user}cert.pem`), '-key', file(`${user}key.pem`), '-certdir', trustDir, '-hostcert', file('hostcert.pem'), '-hostkey', file('hostkey.pem'), '-voms', 'gridvo', '-uri', 'voms.example.org:15000', ...fqans.flatMap((fqan) => ['-fqan', fqan]), '-rfc', '-quiet', '-out', file(out), ...words], { env, encoding: 'utf8' });
    t.equal(made.status, 0, made.stderr);
    return certificatesOf(readFileSync(file(out), 'latin1'));
  };
  const open = TrustDirectory.open(trustDir, silent, { vomsdir });
  const identityOf = (chain: readonly Uint8Array[], now = new Date()) => {
    const verdict = validateChain(chain, open.refresh(), now);
    return verdict.ok ? verdict.identity : undefined;
  };
  const chain = fake('proxy');
  t.match(identityOf(chain), { subject: '/O=Grid/CN=Alice', fqans: [], warnings: [/voms.example.org.lsc does not exist/] }, 'no .lsc: the login goes on without FQANs');
  writeFileSync(lsc, right);
  t.same(identityOf(chain)?.fqans, ['/gridvo/prod/Role=pilot', '/gridvo', '/gridvo/test'], 'in order, the primary one first');
  t.same(identityOf(chain)?.warnings, []);
  const issuer = { certificate: readFileSync(file('proxy'), 'latin1'), key: /-----BEGIN (?:RSA )?PRIVATE KEY-----[^]*?-----END (?:RSA )?PRIVATE KEY-----\n/.exec(readFileSync(file('proxy'), 'latin1'))?.[0] ?? '' };
  t.equal(identityOf(certificatesOf((await issueProxy({ issuer, notAfter: new Date(Date.now() + 3e6), limited: true })).chain))?.fqans.length, 3, 'through a further proxy');
  for (const [text, why] of [['/O=Grid/CN=else\n/O=Grid/CN=Tools CA\n', /is not the one/], ['/O=Grid/CN=voms.example.org\n/O=Grid/CN=Else\n', /is not the one/], [`${right}/O=Grid/CN=Above\n`, /authorities above/], ['/O=Grid/CN=alone\n', /is broken/], ['junk', /is broken/]] as const) {
    writeFileSync(lsc, text);
    t.match(identityOf(chain), { fqans: [], warnings: [why] }, text);
  }
  writeFileSync(lsc, `# two\n/O=Grid/CN=else\n/O=Grid/CN=Tools CA\n------ NEXT CHAIN ------\n${right}`);
  t.equal(identityOf(chain)?.fqans.length, 3, 'the second chain of the file');
  writeFileSync(lsc, right);
  t.match(identityOf(fake('aimed', ['-target', 'localhost'])), { fqans: [], warnings: [/aimed/] });
  t.match(identityOf(fake('foreign', [], 'user', ['/gridvo', '/othervo/Role=admin'])), { fqans: [], warnings: [/\/othervo\/Role=admin is not of its VO/] });
  t.match(identityOf(fake('short', ['-vomslife', '1']), new Date(Date.now() + 2 * 3_600_000)), { fqans: [], warnings: [/expired/] }, 'the attributes end before the proxy');
  const transplanted = readCertificate(fake('bob', [], 'other')[0] as Uint8Array).extensions.get(oids.vomsAttributeCertificates)?.value ?? new Uint8Array();
  const alice = { subject: readCertificate(certificatesOf(readFileSync(file('usercert.pem'), 'latin1'))[0] as Uint8Array).subjectDer, key: f.openKey(readFileSync(file('userkey.pem'), 'latin1')) };
  const wear = (value: Uint8Array): Uint8Array[] => {
    const subject = sequence(readOne(alice.subject).body, der(0x31, sequence(oid('2.5.4.3'), der(0x13, Buffer.from('77')))));
    return [f.forge({ issuer: alice, subject, extensions: [f.proxyInfo(oids.inheritAll), f.extension(oids.vomsAttributeCertificates, false, value)] }).raw, ...certificatesOf(readFileSync(file('usercert.pem'), 'latin1'))];
  };
  t.match(identityOf(wear(transplanted)), { subject: '/O=Grid/CN=Alice', fqans: [], warnings: [/for another certificate/] }, 'the attributes of someone else');
  const own = Buffer.from(readCertificate(chain[0] as Uint8Array).extensions.get(oids.vomsAttributeCertificates)?.value ?? []);
  t.equal(identityOf(wear(own))?.fqans.length, 3, 'put into another proxy of the same user');
  const random = seeded(5);
  for (let n = 0; n < 400; n++) {
    const changed = Buffer.from(own);
    const at = Math.floor(random() * changed.length);
    changed[at] = (changed[at] ?? 0) ^ (1 + Math.floor(random() * 255));
    const identity = identityOf(wear(changed));
    if (identity?.subject !== '/O=Grid/CN=Alice') t.fail(`byte ${at} refused the login`);
    if (identity && identity.fqans.length > 0 && identity.fqans.join() !== '/gridvo/prod/Role=pilot,/gridvo,/gridvo/test') t.fail(`byte ${at} changed the FQANs to ${identity.fqans.join()}`);
  }
  rmSync(lsc);
  writeFileSync(join(vomsdir, 'gridvo', 'host.pem'), readFileSync(file('hostcert.pem')));
  t.equal(identityOf(chain)?.fqans.length, 3, 'by the installed certificate of the server');
  rmSync(join(vomsdir, 'gridvo', 'host.pem'));
  writeFileSync(join(vomsdir, 'other.pem'), readFileSync(file('usercert.pem')));
  t.same(identityOf(chain)?.fqans, [], 'a certificate of somebody else');
  t.same(validateChain(chain, TrustDirectory.open(trustDir, silent).current(), new Date()).ok, true, 'no vomsdir');
});

t.test('myproxy: a credential that went through its server', { skip: noTool('myproxy-logon') || noTool('/usr/sbin/myproxy-server') }, async (t) => {
  const { trustDir, file, env } = await toolWorld(join(home, 'myproxy'));
  mkdirSync(file('store'), { mode: 0o700 });
  writeFileSync(file('config'), ['accepted_credentials', 'authorized_retrievers', 'default_retrievers'].map((word) => `${word} "*"\n`).join(''));
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const port = String((probe.address() as AddressInfo).port);
  await new Promise((closed) => probe.close(closed));
  /** In its debugging mode the server takes one connection and ends. */
  const served = async (program: string, words: readonly string[], own: NodeJS.ProcessEnv): Promise<void> => {
    const server = spawn('/usr/sbin/myproxy-server', ['-d', '-c', file('config'), '-p', port, '-s', file('store'), '-l', 'localhost'], { env: { ...env, X509_USER_CERT: file('hostcert.pem'), X509_USER_KEY: file('hostkey.pem') }, stdio: ['ignore', 'ignore', 'pipe'] });
    t.teardown(() => server.kill('SIGKILL'));
    const ended = once(server, 'close');
    for await (const text of server.stderr.setEncoding('utf8').iterator({ destroyOnReturn: false })) if (String(text).includes('Starting myproxy-server')) break;
    server.stderr.resume();
    const ran = spawnSync(program, ['-s', 'localhost', '-p', port, '-l', 'alice', '-S', ...words], { env: { ...env, MYPROXY_SERVER_DN: '/O=Grid/CN=voms.example.org', ...own }, input: 'a long passphrase\n', encoding: 'utf8', timeout: 20_000 });
    t.equal(ran.status, 0, ran.stderr);
    await ended;
  };
  await served('myproxy-init', ['-c', '10'], { X509_USER_CERT: file('usercert.pem'), X509_USER_KEY: file('userkey.pem') });
  await served('myproxy-logon', ['-o', file('proxy'), '-t', '2'], {});
  const chain = certificatesOf(readFileSync(file('proxy'), 'latin1'));
  t.match(validateChain(chain, TrustDirectory.open(trustDir, silent).current(), new Date()), { ok: true, identity: { subject: '/O=Grid/CN=Alice', limited: false } }, `${chain.length} certificates`);
});

// ---------------------------------------------------------------- the command

const main = join(root, 'dist', 'src', 'cli', 'main.js');
const gridvc = (words: readonly string[], input = ''): { status: number | null; stdout: string; stderr: string } => spawnSync(process.execPath, [main, 'chain', 'verify', ...words], { input, encoding: 'utf8', timeout: 20_000, env: { PATH: process.env['PATH'], HOME: home } });

t.test('gridvc chain verify', async (t) => {
  const folder = join(home, 'command');
  const trustDir = join(folder, 'trust');
  const ca = f.forge({ subject: '/O=Grid/CN=CA', extensions: f.authorityExtensions });
  const hash = f.installAuthority(trustDir, ca.pem);
  const alice = f.forge({ issuer: ca, subject: '/O=Grid/CN=Alice', extensions: [f.keyUsage(0)] });
  const chain = join(folder, 'chain.pem');
  writeFileSync(chain, alice.pem);
  const good = gridvc(['--trust', trustDir, chain, '--json']);
  t.equal(good.status, 0, good.stderr);
  t.same(Object.keys(JSON.parse(good.stdout)), ['valid', 'subject', 'limited', 'independent', 'notAfter', 'fqans', 'reason', 'certificate', 'file']);
  t.match(JSON.parse(good.stdout), { valid: true, subject: '/O=Grid/CN=Alice', limited: false, independent: false, fqans: [], reason: null, certificate: null, file: null });
  t.match(gridvc(['--trust', trustDir, chain]).stdout, /^valid: \/O=Grid\/CN=Alice, until 2/);
  t.match(gridvc(['--trust', trustDir, '-'], alice.pem), { status: 0 });
  const late = gridvc(['--trust', trustDir, '--at', '2090-01-01T00:00:00Z', '--json', chain]);
  t.equal(late.status, 1);
  t.match(JSON.parse(late.stdout), { valid: false, subject: null, reason: /^expired: /, certificate: '/O=Grid/CN=Alice' });
  t.match(gridvc(['--trust', trustDir, '--require-crl', chain]), { status: 1, stdout: /^refused: crl: [^]*file: .*\.0/ });
  for (const words of [[], ['--trust', trustDir], [chain], ['--trust', trustDir, join(folder, 'none')], ['--trust', join(folder, 'none'), chain], ['--trust', trustDir, '--at', 'soon', chain], ['--nonsense']]) {
    t.match(gridvc(words), { status: 2, stdout: '' }, words.join(' '));
  }
  spawnSync('mkfifo', [join(folder, 'pipe'), join(trustDir, '01234567.0')]);
  for (const odd of [join(folder, 'pipe'), '/dev/zero', folder]) t.equal(gridvc(['--trust', trustDir, odd]).status, 2, odd);
  writeFileSync(chain, Buffer.from('-----BEGIN CERTIFICATE-----\n\u0000\xff'));
  t.match(gridvc(['--trust', trustDir, chain]), { status: 1, stderr: /01234567.0: it is not a regular file/ }, 'neither chain nor directory holds it up');

  const line = (value: unknown): string => `${JSON.stringify(value)}\n`;
  const lines = [
    line({ chain: alice.pem, trust: trustDir }), line({ chain: '', trust: trustDir }), 'junk\n', line([]), line({ chain: 7, trust: trustDir }), line({ chain: alice.pem }), line({ chain: alice.pem, trust: join(folder, 'none') }),
    line({ chain: alice.pem, trust: trustDir, at: '2090-01-01' }), line({ chain: alice.pem, trust: trustDir, at: 'soon' }), line({ chain: alice.pem, trust: trustDir, vomsdir: join(folder, 'none') }), `${JSON.stringify({ chain: 'x'.repeat(9_000_000) })}\n`, JSON.stringify({ chain: alice.pem, trust: trustDir }),
  ];
  const batch = gridvc(['--batch'], lines.join(''));
  t.equal(batch.status, 0, batch.stderr);
  t.same(batch.stdout.trim().split('\n').map((each) => (JSON.parse(each) as { valid: boolean; reason: string | null }).reason?.split(':')[0] ?? 'valid'), ['valid', 'no-certificate', 'usage', 'usage', 'usage', 'usage', 'unknown-authority', 'expired', 'usage', 'valid', 'usage', 'valid']);
  writeFileSync(join(trustDir, `${hash}.signing_policy`), 'junk');
  t.match(JSON.parse(gridvc(['--batch', '--trust', trustDir], line({ chain: alice.pem })).stdout), { valid: false, reason: /^authority-disabled/, file: join(trustDir, `${hash}.signing_policy`) });
});
