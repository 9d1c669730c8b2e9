/** Identity, whole: DER, certificates, proxies, trust directories, map, bans, roles, proxy files. Generated chains, each rule with both verdicts. */
import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import fc from 'fast-check';
import pino from 'pino';
import t from 'tap';
import { LineError, quoteDn, readDnLine } from '../gatekeeper/identity/dn-line.js';
import { isBanned, readBans } from '../gatekeeper/identity/ban-file.js';
import { Authenticator } from '../gatekeeper/identity/authenticator.js';
import { accountOf, readGridMap } from '../gatekeeper/identity/grid-mapfile.js';
import { readRoles, rolesOf } from '../gatekeeper/identity/roles-file.js';
import { GridError, isGridError } from '../src/domain/error.js';
import { readCertificate } from '../src/pki/certificate.js';
import { validateChain } from '../src/pki/chain.js';
import { readCrl } from '../src/pki/crl.js';
import { context, DerError, readChildren, readOid, readOne, readTime } from '../src/pki/der.js';
import { der, oid, sequence } from '../src/pki/der-write.js';
import { comparableDn, encodeDn, globusDn } from '../src/pki/dn.js';
import { issueCertificate, issueProxy, makeAuthority, makeKey, makeRequest, readRequest, type Issuer } from '../src/pki/issue.js';
import * as oids from '../src/pki/oids.js';
import { certificatesOf, readPem } from '../src/pki/pem.js';
import { parseCredential, proxyInfo as describeProxy, readProxyFile, writeProxyFile } from '../src/pki/proxy-file.js';
import { maySign, readSigningPolicy, SigningPolicyError } from '../src/pki/signing-policy.js';
import { LscError, readLsc } from '../src/pki/voms-trust.js';
import { peerChain, tlsServerOptions } from '../src/pki/tls.js';
import { nameHashes, TrustDirectory, type TrustSettings } from '../src/pki/trust-directory.js';
import * as f from './support/forge.js';

const log = pino({ level: 'silent' });
const home = mkdtempSync(join(tmpdir(), 'gridvc-identity-'));
t.teardown(() => rmSync(home, { recursive: true, force: true }));
let directories = 0;
const freshDirectory = (): string => join(home, `trust-${directories++}`);
const hour = (count: number): Date => new Date(Date.now() + count * 3_600_000);

// A small world, forged: an authority, a user under it.
const ca = f.forge({ subject: '/O=Grid/CN=CA', extensions: f.authorityExtensions, to: 6000 });
const alice = f.forge({ issuer: ca, subject: '/O=Grid/CN=Alice', extensions: [f.notAuthority, f.keyUsage(0)] });
const world = freshDirectory();
f.installAuthority(world, ca.pem);

function trust(directory: string, settings: Partial<TrustSettings> = {}) {
  return TrustDirectory.open(directory, log, settings).current();
}

/** "ok" or the code of the refusal. */
function verdict(chain: readonly (f.Forged | Uint8Array)[], directory = world, settings: Partial<TrustSettings> = {}, now = new Date()): string {
  const result = validateChain(chain.map((each) => (each instanceof Uint8Array ? each : each.raw)), trust(directory, settings), now);
  return result.ok ? 'ok' : result.refusal.code;
}

function proxyOf(issuer: f.Forged, extensions: readonly Uint8Array[] = [f.proxyInfo(oids.inheritAll), f.keyUsage(0)], more: Partial<f.Parts> = {}): f.Forged {
  const subject = sequence(readOne(issuer.subject).body, der(0x31, sequence(oid('2.5.4.3'), der(0x13, Buffer.from(String(Math.floor(Math.random() * 1e9)))))));
  return f.forge({ issuer, subject, extensions, ...more });
}

t.test('DER is read strictly', async (t) => {
  const refused = (hex: string, name: string): void => void t.throws(() => readChildren(readOne(Buffer.from(hex, 'hex'))), DerError, name);
  refused('3080020100 0000'.replaceAll(' ', ''), 'indefinite length');
  refused('308103020100', 'length in two bytes where one will do');
  refused('30820003020100', 'length with a leading zero');
  refused('3003020100ff', 'bytes after the end');
  refused('3004020100', 'longer than its holder');
  refused('1f8101', 'long tag');
  refused('', 'nothing');
  t.equal(readOid(readOne(oid('1.3.6.1.4.1.3536.1.1.1.9'))), '1.3.6.1.4.1.3536.1.1.1.9');
  t.equal(readOid(readOne(oid('2.999.4294967296'))), '2.999.4294967296');
  t.throws(() => readOid(readOne(Buffer.from('06028001', 'hex'))), DerError, 'padded arc');
  t.throws(() => readTime(readOne(der(0x17, Buffer.from('230229000000Z')))), DerError, '29 February 2023');
  t.equal(readTime(readOne(der(0x17, Buffer.from('491231235959Z')))), Date.UTC(2049, 11, 31, 23, 59, 59));
  t.equal(readTime(readOne(der(0x17, Buffer.from('500101000000Z')))), Date.UTC(1950, 0, 1));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => onlyThrows(() => readCertificate(bytes), DerError) && onlyThrows(() => readCrl(bytes), DerError) && onlyThrows(() => globusDn(bytes), DerError)), { numRuns: 500 });
  fc.assert(
    fc.property(fc.nat(alice.raw.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const bytes = Buffer.from(alice.raw);
      bytes[at] = (bytes[at] ?? 0) ^ flip;
      return verdict([bytes]) !== 'ok';
    }),
    { numRuns: 400 },
  );
  t.pass('no changed byte of a certificate is accepted, nothing but DerError is thrown');
});

function onlyThrows(work: () => unknown, kind: new (...words: never[]) => Error): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (error instanceof kind) return true;
    throw error;
  }
}

t.test('DNs as Globus writes them', async (t) => {
  for (const dn of ['/C=JP/O=Grid/CN=Alice', '/DC=org/DC=example/CN=host\\/foo.example.org', '/O=Gr\\xC3\\xBCn/CN=a\\+b', '/O=Grid/CN=A+serialNumber=7', '/O=Grid/1.2.3.4=x/emailAddress=a@b.c/UID=u', '/CN=say "hi"']) {
    t.equal(globusDn(encodeDn(dn)), dn);
  }
  t.equal(globusDn(encodeDn('/O=Grid/CN=host/foo.example.org')), '/O=Grid/CN=host\\/foo.example.org', 'a slash without name= belongs to the value');
  t.equal(globusDn(encodeDn('/O=Grün/CN=x')), '/O=Gr\\xC3\\xBCn/CN=x');
  t.equal(comparableDn('/O=Grid/USERID=x/E=a@b'), comparableDn('/o=grid/UID=X/Email=A@B'));
  for (const bad of ['', 'O=Grid', '/', '/O', '/Nonsense=x']) t.throws(() => encodeDn(bad), DerError);
  fc.assert(fc.property(fc.string({ maxLength: 60, unit: 'binary' }).filter((text) => text !== ''), (text) => globusDn(encodeDn(`/CN=${Buffer.from(text).reduce((all, byte) => `${all}\\x${byte.toString(16).padStart(2, '0')}`, '')}`)) !== ''));
});

const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';
t.test('names hash as OpenSSL hashes them', { skip: noOpenssl }, async (t) => {
  const odd = f.forge({ subject: sequence(der(0x31, sequence(oid('2.5.4.10'), der(0x0c, Buffer.from('  Grün   GRID ')))), der(0x31, sequence(oid('2.5.4.3'), der(0x1e, Buffer.from('00410042', 'hex'))))) });
  for (const each of [ca, alice, odd]) {
    const hash = (option: string): string => execFileSync('openssl', ['x509', '-noout', option], { input: each.pem, encoding: 'utf8' }).trim();
    t.same(nameHashes(each.subject), [hash('-subject_hash'), hash('-subject_hash_old')]);
  }
});

t.test('end entities and authorities (RFC 5280)', async (t) => {
  t.equal(verdict([alice]), 'ok');
  t.equal(verdict([]), 'no-certificate');
  t.equal(verdict([Buffer.from('hello')]), 'malformed');
  t.equal(verdict([f.forge({ issuer: ca, subject: '/O=Grid/CN=A', extensions: [] })]), 'ok', 'no extensions at all');
  t.equal(verdict([f.forge({ subject: '/O=Grid/CN=Alice' })]), 'unknown-authority', 'self-signed');
  const foreign = f.forge({ subject: '/O=Evil/CN=CA', extensions: f.authorityExtensions });
  t.equal(verdict([f.forge({ issuer: foreign, subject: '/O=Grid/CN=Alice' }), foreign]), 'unknown-authority', 'an authority that the client brings');
  t.equal(verdict([f.forge({ issuer: { ...ca, key: f.ecKey() }, subject: '/O=Grid/CN=Alice' })]), 'bad-signature', 'our authority by name, another key');
  t.equal(verdict([f.forge({ issuer: alice, subject: '/O=Grid/CN=Mallory' }), alice]), 'unknown-authority', 'signed by a user');
  t.equal(verdict([f.forge({ issuer: ca, subject: '/O=Grid/CN=A', to: -1 })]), 'expired');
  t.equal(verdict([f.forge({ issuer: ca, subject: '/O=Grid/CN=A', from: 3 })]), 'ok', 'a clock three minutes ahead');
  t.equal(verdict([f.forge({ issuer: ca, subject: '/O=Grid/CN=A', from: 7 })]), 'not-yet-valid');
  t.equal(verdict([f.forge({ issuer: ca, subject: '/O=Grid/CN=A', extensions: f.authorityExtensions })]), 'wrong-usage', 'an authority cannot log in');
  t.equal(verdict([f.forge({ issuer: ca, subject: '/O=Grid/CN=A', extensions: [f.keyUsage(2)] })]), 'wrong-usage', 'a key for encipherment only');
  t.equal(verdict([f.forge({ issuer: ca, subject: '/O=Grid/CN=A', extensions: [f.usages(oids.serverAuth)] })]), 'wrong-usage', 'a server only');
  t.equal(verdict([f.forge({ issuer: ca, subject: '/O=Grid/CN=A', extensions: [f.usages(oids.clientAuth, oids.serverAuth)] })]), 'ok');
  t.equal(verdict([f.forge({ issuer: ca, subject: '/O=Grid/CN=A', extensions: [f.extension('1.2.3.4', true, der(5))] })]), 'unsupported', 'unknown and critical');
  t.equal(verdict([f.forge({ issuer: ca, subject: '/O=Grid/CN=A', extensions: [f.extension('1.2.3.4', false, der(5))] })]), 'ok', 'unknown, not critical');
  t.equal(verdict([f.forge({ issuer: ca, subject: '/O=Grid/CN=A', extensions: [f.keyUsage(0), f.keyUsage(0)] })]), 'malformed', 'an extension twice');
  t.equal(verdict([f.forge({ issuer: ca, subject: '/O=Else/CN=A' })]), 'signing-policy');
  t.equal(verdict(Array.from({ length: 65 }, () => alice)), 'too-many');

  const noAuthority = freshDirectory();
  const fake = f.forge({ subject: '/O=Grid/CN=Fake', extensions: [f.notAuthority] });
  f.installAuthority(noAuthority, fake.pem);
  t.equal(verdict([f.forge({ issuer: fake, subject: '/O=Grid/CN=A' })], noAuthority), 'not-an-authority', 'cA is not set');
  const noSign = freshDirectory();
  const mute = f.forge({ subject: '/O=Grid/CN=Mute', extensions: [f.authority(), f.keyUsage(6)] });
  f.installAuthority(noSign, mute.pem);
  t.equal(verdict([f.forge({ issuer: mute, subject: '/O=Grid/CN=A' })], noSign), 'not-an-authority', 'no keyCertSign');
  t.equal(verdict([alice], join(home, 'nowhere')), 'unknown-authority', 'no trust directory');
});

t.test('sub-authorities, path lengths, rollover, name constraints', async (t) => {
  const directory = freshDirectory();
  const root = f.forge({ subject: '/O=Grid/CN=Root', extensions: [f.authority(0), f.keyUsage(5, 6)] });
  const sub = f.forge({ issuer: root, subject: '/O=Grid/CN=Sub', extensions: f.authorityExtensions });
  const user = f.forge({ issuer: sub, subject: '/O=Grid/CN=U' });
  f.installAuthority(directory, root.pem);
  t.equal(verdict([user, sub], directory), 'unknown-authority', 'a sub-authority that only the client has');
  f.installAuthority(directory, sub.pem);
  t.equal(verdict([user], directory), 'not-an-authority', 'path length 0 and a sub-authority');
  t.equal(verdict([f.forge({ issuer: root, subject: '/O=Grid/CN=V' })], directory), 'ok');
  f.installAuthority(directory, f.forge({ subject: '/O=Grid/CN=Root', key: root.key, extensions: [f.authority(1), f.keyUsage(5, 6)] }).pem);
  t.equal(verdict([user], directory), 'ok', 'path length 1');
  t.equal(verdict([proxyOf(user), user], directory), 'ok', 'proxies do not count');
  f.installAuthority(directory, sub.pem, { policy: null });
  rmSync(join(directory, `${nameHashes(sub.subject)[0]}.signing_policy`));
  t.equal(verdict([user], directory), 'signing-policy', 'the policy of the sub-authority is missing');

  const loop = freshDirectory();
  const [one, two] = [f.ecKey(), f.ecKey()];
  const [nameOne, nameTwo] = [encodeDn('/O=Grid/CN=One'), encodeDn('/O=Grid/CN=Two')];
  f.installAuthority(loop, f.forge({ issuer: { subject: nameTwo, key: two }, subject: nameOne, key: one, extensions: f.authorityExtensions }).pem);
  f.installAuthority(loop, f.forge({ issuer: { subject: nameOne, key: one }, subject: nameTwo, key: two, extensions: f.authorityExtensions }).pem);
  t.equal(verdict([f.forge({ issuer: { subject: nameOne, key: one }, subject: '/O=Grid/CN=A' })], loop), 'unknown-authority', 'authorities in a ring end');

  const rollover = freshDirectory();
  const next = f.forge({ subject: '/O=Grid/CN=CA', extensions: f.authorityExtensions });
  const hash = f.installAuthority(rollover, ca.pem);
  writeFileSync(join(rollover, `${hash}.1`), next.pem);
  t.equal(verdict([alice], rollover), 'ok');
  t.equal(verdict([f.forge({ issuer: next, subject: '/O=Grid/CN=A' })], rollover), 'ok', 'a second key of the same name');
  const old = freshDirectory();
  f.installAuthority(old, ca.pem, { oldHash: true });
  t.equal(verdict([alice], old), 'ok', 'the old kind of hash');
  f.installAuthority(old, ca.pem);
  t.equal(verdict([alice], old), 'ok', 'both kinds');

  const constrained = freshDirectory();
  const permitted = f.extension(oids.nameConstraints, true, sequence(der(0xa0, sequence(der(0xa4, encodeDn('/O=Grid/OU=In'))))));
  const narrow = f.forge({ subject: '/O=Grid/CN=Narrow', extensions: [...f.authorityExtensions, permitted] });
  f.installAuthority(constrained, narrow.pem);
  t.equal(verdict([f.forge({ issuer: narrow, subject: '/O=Grid/OU=In/CN=A' })], constrained), 'ok');
  t.equal(verdict([f.forge({ issuer: narrow, subject: '/O=Grid/OU=Out/CN=A' })], constrained), 'name-constraints');
});

t.test('name constraints: every form, both verdicts', async (t) => {
  const general = { dns: 2, email: 1, uri: 6, ip: 7 } as const;
  const name = (form: keyof typeof general, value: string | Uint8Array): Uint8Array => der(context(general[form], false), typeof value === 'string' ? Buffer.from(value) : value);
  const directoryName = (dn: string): Uint8Array => der(0xa4, encodeDn(dn));
  const tree = (which: 0 | 1, ...bases: readonly Uint8Array[]): Uint8Array => der(context(which), ...bases.map((base) => sequence(base)));
  const ip = (...bytes: readonly number[]): Uint8Array => name('ip', Uint8Array.from(bytes));
  /** A user with these alternative names under an authority with these constraints. */
  const under = (constraints: readonly Uint8Array[], names: readonly Uint8Array[], subject = '/O=Grid/CN=A', critical = true): string => {
    const directory = freshDirectory();
    const narrow = f.forge({ subject: '/O=Grid/CN=Narrow', extensions: [...f.authorityExtensions, f.extension(oids.nameConstraints, critical, sequence(...constraints))] });
    f.installAuthority(directory, narrow.pem);
    const extensions = names.length > 0 ? [f.extension(oids.subjectAltName, false, sequence(...names))] : [];
    const user = f.forge({ issuer: narrow, subject, extensions });
    const result = verdict([user], directory);
    t.equal(verdict([proxyOf(user), user], directory), result, 'the same through a proxy');
    return result;
  };
  const no = 'name-constraints';
  const cases: readonly (readonly [string, Uint8Array, Uint8Array, string, string])[] = [
    ['DNS, itself', name('dns', 'example.org'), name('dns', 'EXAMPLE.org'), 'ok', no],
    ['DNS, under', name('dns', 'example.org'), name('dns', 'a.b.example.org'), 'ok', no],
    ['DNS, beside', name('dns', 'example.org'), name('dns', 'badexample.org'), no, 'ok'],
    ['DNS, a wildcard that could meet it', name('dns', 'bar.example.org'), name('dns', '*.example.org'), no, no],
    ['DNS, all', name('dns', ''), name('dns', 'x.org'), 'ok', no],
    ['mail, box', name('email', 'a@example.org'), name('email', 'a@EXAMPLE.org'), 'ok', no],
    ['mail, box of another case', name('email', 'a@example.org'), name('email', 'A@example.org'), no, 'ok'],
    ['mail, host', name('email', 'example.org'), name('email', 'a@example.org'), 'ok', no],
    ['mail, host under', name('email', 'example.org'), name('email', 'a@x.example.org'), no, 'ok'],
    ['mail, domain', name('email', '.example.org'), name('email', 'a@x.example.org'), 'ok', no],
    ['URI, host', name('uri', 'example.org'), name('uri', 'https://me@example.org:8443/x'), 'ok', no],
    ['URI, domain', name('uri', '.example.org'), name('uri', 'https://x.example.org'), 'ok', no],
    ['URI, beside', name('uri', 'example.org'), name('uri', 'https://x.example.org'), no, 'ok'],
    ['URI without a host', name('uri', 'example.org'), name('uri', 'urn:x'), no, no],
    ['IPv4, within', ip(10, 0, 0, 0, 255, 0, 0, 0), ip(10, 9, 8, 7), 'ok', no],
    ['IPv4, beside', ip(10, 0, 0, 0, 255, 0, 0, 0), ip(11, 9, 8, 7), no, 'ok'],
    ['IPv6 against IPv4', ip(0, 0, 0, 0, 0, 0, 0, 0), name('ip', new Uint8Array(16)), no, 'ok'],
    ['a directory name', directoryName('/O=Grid'), directoryName('/O=Grid/CN=x'), 'ok', no],
    ['another form', name('dns', 'example.org'), name('email', 'a@else.org'), 'ok', 'ok'],
    ['a form that is not known', der(context(8, false), Uint8Array.of(42, 3)), der(context(8, false), Uint8Array.of(42, 4)), no, no],
  ];
  for (const [what, base, own, permitted, excluded] of cases) {
    t.equal(under([tree(0, base)], [own]), permitted, `permitted: ${what}`);
    t.equal(under([tree(1, base)], [own]), excluded, `excluded: ${what}`);
  }
  t.equal(under([tree(0, directoryName('/O=Grid/CN=A'))], [], '/O=Grid/CN=A'), 'ok');
  t.equal(under([tree(0, directoryName('/O=Grid/CN=B'))], [], '/O=Grid/CN=A'), no);
  t.equal(under([tree(1, directoryName('/O=Grid/CN=A'))], [], '/o=grid/CN=a'), no, 'names compare as OpenSSL compares them');
  t.equal(under([tree(0, name('email', 'example.org'))], [], '/O=Grid/CN=A/emailAddress=a@else.org'), no, 'mail in the subject');
  t.equal(under([tree(0, directoryName('/O=Else'))], [], '/O=Grid/CN=A', false), no, 'constraints that are not critical hold too');
  for (const bad of [[], [tree(0)], [tree(0, name('dns', '.example.org'))], [tree(0, name('dns', '*.example.org'))], [tree(0, ip(10, 0, 0, 0))], [tree(0, ip(10, 0, 0, 0, 255, 0, 255, 0))], [tree(0, name('email', 'a@'))]]) t.equal(under(bad, [name('dns', 'example.org'), name('email', 'a@example.org')]), 'malformed', 'constraints that are none');
  const many = Array.from({ length: 1000 }, (_, index) => name('dns', `h${index}.org`));
  t.equal(under([tree(0, name('dns', 'org')), tree(1, ...many.slice(0, 500))], many.map((_, index) => name('dns', `u${index}.org`))), 'too-many', 'work is bounded');
  const alone = (own: Uint8Array): string => verdict([f.forge({ issuer: ca, subject: '/O=Grid/CN=A', extensions: [f.extension(oids.subjectAltName, false, sequence(own))] })]);
  for (const fine of [name('dns', '*.example.org'), name('email', 'a.b+c@example.org'), ip(1, 2, 3, 4), name('uri', 'urn:x')]) t.equal(alone(fine), 'ok');
  for (const bad of [name('dns', 'under_score.org'), name('dns', '1.2.3.4'), name('dns', 'a..b'), name('email', 'nobody'), ip(1, 2, 3), der(0x0c, Buffer.from('x'))]) t.equal(alone(bad), 'malformed');
});

t.test('several authorities of one name: every path is tried, identifiers choose, loops end', async (t) => {
  const directory = freshDirectory();
  const identifier = (text: string): Uint8Array => f.extension(oids.subjectKeyIdentifier, false, der(0x04, Buffer.from(text)));
  const issuerIdentifier = (text: string): Uint8Array => f.extension(oids.authorityKeyIdentifier, false, sequence(der(context(0, false), Buffer.from(text))));
  const root = f.forge({ subject: '/O=Grid/CN=Root', extensions: f.authorityExtensions });
  const oldRoot = f.forge({ subject: '/O=Grid/CN=Old', extensions: f.authorityExtensions, to: -1 });
  const key = f.ecKey();
  const sub = { subject: encodeDn('/O=Grid/CN=Sub'), key };
  const bySub = f.forge({ issuer: root, subject: sub.subject, key, extensions: [...f.authorityExtensions, identifier('right')] });
  const byOld = f.forge({ issuer: oldRoot, subject: sub.subject, key, extensions: [...f.authorityExtensions, identifier('right')], to: 6000 });
  const expired = f.forge({ issuer: root, subject: sub.subject, key, extensions: f.authorityExtensions, to: -1 });
  const stranger = f.forge({ issuer: root, subject: sub.subject, extensions: [...f.authorityExtensions, identifier('other')] });
  const hash = nameHashes(sub.subject)[0];
  for (const each of [root, oldRoot, bySub]) f.installAuthority(directory, each.pem);
  for (const [number, each] of [byOld, expired, stranger].entries()) writeFileSync(join(directory, `${hash}.${number + 1}`), each.pem);
  const user = (parts: Partial<f.Parts> = {}): f.Forged => f.forge({ issuer: sub, subject: '/O=Grid/CN=A', ...parts });
  t.equal(verdict([user()], directory), 'ok', 'one path of four is good');
  t.equal(verdict([user({ extensions: [issuerIdentifier('right')] })], directory), 'ok');
  t.equal(verdict([user({ extensions: [issuerIdentifier('other')] })], directory), 'ok', 'an identifier that points to the wrong one only costs a try');
  t.equal(verdict([user({ issuer: { ...sub, key: f.ecKey() } })], directory), 'bad-signature');
  rmSync(join(directory, `${hash}.0`));
  t.equal(verdict([user()], directory), 'expired', 'without the good one: why the likeliest was refused');

  const maze = freshDirectory();
  const names = Array.from({ length: 8 }, (_, index) => ({ subject: encodeDn(`/O=Grid/CN=Maze ${index}`), key: f.ecKey() }));
  for (const [index, each] of names.entries()) {
    for (const [number, above] of names.entries()) {
      const crossed = f.forge({ issuer: above, subject: each.subject, key: each.key, extensions: f.authorityExtensions });
      if (number === index) continue;
      f.installAuthority(maze, crossed.pem);
      writeFileSync(join(maze, `${nameHashes(each.subject)[0]}.${number + 1}`), crossed.pem);
    }
  }
  const begun = performance.now();
  t.equal(verdict([f.forge({ issuer: names[0] as (typeof names)[0], subject: '/O=Grid/CN=A' })], maze), 'too-many', 'a maze without an exit');
  t.ok(performance.now() - begun < 2_000, `${(performance.now() - begun).toFixed(0)} ms`);

  const serial = (count: number): f.Forged => f.forge({ issuer: ca, subject: '/O=Grid/CN=A', serialBytes: Buffer.alloc(count, 1) });
  t.equal(verdict([serial(20)]), 'ok');
  t.equal(verdict([serial(22)]), 'malformed', 'a serial number of 22 bytes');
  t.equal(verdict([f.forge({ issuer: ca, subject: '/O=Grid/CN=A', extensions: [f.keyUsage(0, 5)] })]), 'malformed', 'keyCertSign without cA');
  t.equal(verdict([f.forge({ issuer: ca, subject: '/O=Grid/CN=A', extensions: [f.extension(oids.nameConstraints, false, sequence())] })]), 'malformed', 'name constraints in an end entity');
});

t.test('certificate policies: asked for by an authority, held or not', async (t) => {
  const policies = (...list: readonly string[]): Uint8Array => f.extension(oids.certificatePolicies, false, sequence(...list.map((each) => sequence(oid(each)))));
  const demand = (skip: number, critical = true): Uint8Array => f.extension(oids.policyConstraints, critical, sequence(der(context(0, false), Uint8Array.of(skip))));
  const mapping = (from: string, to: string): Uint8Array => f.extension(oids.policyMappings, true, sequence(sequence(oid(from), oid(to))));
  const noMapping = f.extension(oids.policyConstraints, true, sequence(der(context(0, false), Uint8Array.of(0)), der(context(1, false), Uint8Array.of(0))));
  const noAny = f.extension(oids.inhibitAnyPolicy, true, der(2, Uint8Array.of(0)));
  const [one, two] = ['1.3.6.1.4.1.99999.1', '1.3.6.1.4.1.99999.2'] as const;
  const judged = (above: readonly Uint8Array[], own: readonly Uint8Array[]): string => {
    const directory = freshDirectory();
    const root = f.forge({ subject: '/O=Grid/CN=Root', extensions: f.authorityExtensions });
    const sub = f.forge({ issuer: root, subject: '/O=Grid/CN=Sub', extensions: [...f.authorityExtensions, ...above] });
    for (const each of [root, sub]) f.installAuthority(directory, each.pem);
    return verdict([f.forge({ issuer: sub, subject: '/O=Grid/CN=A', extensions: own })], directory);
  };
  t.equal(judged([policies(one)], [policies(two)]), 'ok', 'nobody asks');
  t.equal(judged([policies(one), demand(0)], [policies(one)]), 'ok');
  t.equal(judged([policies(one), demand(0)], [policies(two)]), 'unsupported', 'another policy');
  t.equal(judged([policies(one), demand(0)], []), 'unsupported', 'none');
  t.equal(judged([demand(0)], [policies(one)]), 'unsupported', 'the authority itself has none');
  t.equal(judged([policies(one), demand(5)], []), 'ok', 'asked for further down only');
  t.equal(judged([policies(oids.anyPolicy), demand(0)], [policies(two)]), 'ok', 'any policy');
  t.equal(judged([policies(one), demand(0)], [policies(oids.anyPolicy)]), 'ok');
  t.equal(judged([policies(one), demand(0), noAny], [policies(oids.anyPolicy)]), 'unsupported', 'any policy is inhibited');
  t.equal(judged([policies(one), demand(0), mapping(one, two)], [policies(two)]), 'ok', 'mapped');
  t.equal(judged([policies(one), demand(0), mapping(one, two)], [policies(one)]), 'unsupported', 'mapped away');
  t.equal(judged([policies(one), noMapping, mapping(one, two)], [policies(two)]), 'ok', 'the inhibition holds for those below');
  t.equal(judged([policies(one), demand(0), mapping(one, oids.anyPolicy)], [policies(two)]), 'malformed');
  t.equal(judged([policies(one), demand(0, false)], [policies(one)]), 'malformed', 'not critical');
});

t.test('weak keys and signatures', async (t) => {
  const directory = freshDirectory();
  const key = f.rsaKey();
  const rsa = f.forge({ subject: '/O=Grid/CN=RSA', key, extensions: f.authorityExtensions, hash: 'sha1' });
  f.installAuthority(directory, rsa.pem);
  const userOf = (more: Partial<f.Parts>): f.Forged => f.forge({ issuer: rsa, subject: '/O=Grid/CN=A', ...more });
  t.equal(verdict([userOf({})], directory), 'ok', 'the signature of the anchor itself does not matter');
  t.equal(verdict([userOf({ hash: 'sha1' })], directory), 'weak-crypto');
  t.equal(verdict([userOf({ hash: 'sha1' })], directory, { sha1: true }), 'ok', 'SHA-1 by a setting');
  t.equal(verdict([userOf({ hash: 'md5' })], directory, { sha1: true }), 'weak-crypto', 'MD5 never');
  t.equal(verdict([userOf({ key: f.rsaKey(1024) })], directory), 'weak-crypto');
  const small = userOf({});
  const { privateKey: odd } = generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 });
  t.equal(verdict([userOf({ key: odd })], directory), 'ok', 'exponent 3');
  t.equal(verdict([proxyOf(userOf({ key: f.rsaKey(1024) })), userOf({ key: f.rsaKey(1024) })], directory), 'weak-crypto', 'a weak key under a proxy');
  t.equal(verdict([proxyOf(small, undefined, { key: f.rsaKey(512) }), small], directory), 'weak-crypto', 'a proxy of 512 bits');
});

t.test('proxies (RFC 3820)', async (t) => {
  const pci = f.proxyInfo(oids.inheritAll);
  const limited = f.proxyInfo(oids.limitedProxy);
  const one = proxyOf(alice);
  t.equal(verdict([one, alice]), 'ok');
  t.equal(verdict([one, ca, alice]), 'ok', 'unordered, with the authority');
  t.equal(verdict([one]), 'incomplete');
  t.equal(verdict([proxyOf(one), one, alice]), 'ok');
  t.equal(verdict([proxyOf(one), alice]), 'incomplete');
  t.equal(verdict([proxyOf({ ...alice, key: f.ecKey() }), alice]), 'bad-signature');
  t.equal(verdict([proxyOf(alice, undefined, { to: -1 }), alice]), 'expired');
  t.equal(verdict([proxyOf(alice, [f.proxyInfo(oids.inheritAll, { critical: false })]), alice]), 'bad-proxy', 'ProxyCertInfo not critical');
  t.equal(verdict([f.forge({ issuer: alice, subject: '/O=Grid/CN=Mallory/CN=1', extensions: [pci] }), alice]), 'bad-proxy', 'another name');
  t.equal(verdict([f.forge({ issuer: alice, subject: '/O=Grid/CN=Alice', extensions: [pci] }), alice]), 'bad-proxy', 'no CN more');
  t.equal(verdict([f.forge({ issuer: alice, subject: '/O=Grid/CN=Alice/CN=1/CN=2', extensions: [pci] }), alice]), 'bad-proxy', 'two CNs more');
  t.equal(verdict([f.forge({ issuer: alice, subject: '/O=Grid/CN=Alice/OU=1', extensions: [pci] }), alice]), 'bad-proxy', 'an OU more');
  t.equal(verdict([f.forge({ issuer: alice, subject: '/O=Grid/CN=Alice/CN=1+OU=x', extensions: [pci] }), alice]), 'bad-proxy', 'a second value in the RDN');
  t.equal(verdict([proxyOf(alice, [pci, f.altName('x.example.org')]), alice]), 'bad-proxy', 'an alternative name');
  t.equal(verdict([proxyOf(alice, [pci, f.authority()]), alice]), 'bad-proxy', 'cA');
  t.equal(verdict([proxyOf(alice, [pci, f.keyUsage(0, 5)]), alice]), 'bad-proxy', 'keyCertSign');
  t.equal(verdict([proxyOf(alice, [pci, pci]), alice]), 'malformed', 'ProxyCertInfo twice');
  t.equal(verdict([proxyOf(alice, [f.proxyInfo('1.2.3.4')]), alice]), 'bad-proxy', 'unknown policy language');
  t.equal(verdict([proxyOf(alice, [f.proxyInfo(oids.inheritAll, { policy: 'x' })]), alice]), 'bad-proxy', 'a policy beside inheritAll');
  t.equal(verdict([proxyOf(alice, [pci, f.usages(oids.serverAuth)]), alice]), 'wrong-usage');
  t.equal(verdict([proxyOf(alice, [f.extension(oids.draftProxyCertInfo, true, sequence(sequence(oid(oids.inheritAll))))]), alice]), 'bad-proxy', 'draft proxy');
  t.equal(verdict([f.forge({ issuer: alice, subject: '/O=Grid/CN=Alice/CN=proxy', extensions: [f.keyUsage(0)] }), alice]), 'bad-proxy', 'legacy proxy');
  const enciphers = f.forge({ issuer: ca, subject: '/O=Grid/CN=E', extensions: [f.keyUsage(4)] });
  t.equal(verdict([enciphers]), 'ok', 'key agreement will do for TLS');
  t.equal(verdict([proxyOf(enciphers), enciphers]), 'wrong-usage', 'but not to sign proxies');
  t.equal(verdict([proxyOf(ca), ca]), 'wrong-usage', 'a proxy of an authority');

  const none = proxyOf(alice, [f.proxyInfo(oids.inheritAll, { pathLength: 0 })]);
  t.equal(verdict([none, alice]), 'ok');
  t.equal(verdict([proxyOf(none), none, alice]), 'bad-proxy', 'path length 0');
  const onemore = proxyOf(alice, [f.proxyInfo(oids.inheritAll, { pathLength: 1 })]);
  const greedy = proxyOf(onemore, [f.proxyInfo(oids.inheritAll, { pathLength: 9 })]);
  t.equal(verdict([greedy, onemore, alice]), 'ok');
  t.equal(verdict([proxyOf(greedy), greedy, onemore, alice]), 'bad-proxy', 'the least path length holds');

  const thin = proxyOf(alice, [limited]);
  t.equal(verdict([proxyOf(thin, [limited]), thin, alice]), 'ok');
  t.equal(verdict([proxyOf(thin), thin, alice]), 'bad-proxy', 'a full proxy under a limited one');
  const identity = (chain: readonly f.Forged[]) => {
    const result = validateChain(chain.map(({ raw }) => raw), trust(world), new Date());
    return result.ok ? result.identity : undefined;
  };
  t.match(identity([one, alice]), { subject: '/O=Grid/CN=Alice', issuer: '/O=Grid/CN=CA', limited: false, independent: false });
  t.match(identity([thin, alice]), { subject: '/O=Grid/CN=Alice', limited: true });
  const free = proxyOf(alice, [f.proxyInfo(oids.independent)]);
  t.match(identity([free, alice]), { subject: readCertificate(free.raw).subject, independent: true });
  t.match(identity([proxyOf(free), free, alice]), { subject: readCertificate(free.raw).subject, independent: true });
  t.equal(identity([proxyOf(alice, undefined, { to: 30 }), alice])?.notAfter.getTime(), readCertificate(proxyOf(alice, undefined, { to: 30 }).raw).notAfter, 'the least of the chain');

  t.equal(verdict([proxyOf(alice, undefined, { to: 300 }), alice], world, { proxySeconds: 7200 }), 'bad-proxy', 'a long life');
  const deep = [alice];
  for (let depth = 0; depth < 21; depth++) deep.unshift(proxyOf(deep[0] as f.Forged));
  t.equal(verdict(deep.slice(1)), 'ok', '20 proxies');
  t.equal(verdict(deep), 'too-many');
});

t.test('revocation lists', async (t) => {
  const withCrl = (crl: string): string => {
    const directory = freshDirectory();
    f.installAuthority(directory, ca.pem, { crl });
    return directory;
  };
  t.equal(verdict([alice], withCrl(f.forgeCrl(ca, []))), 'ok');
  t.equal(verdict([alice], withCrl(f.forgeCrl(ca, [alice.raw]))), 'revoked');
  const twin = proxyOf(alice, undefined, { serial: 424242 });
  const list = f.forgeCrl(ca, [f.forge({ issuer: ca, subject: '/O=Grid/CN=x', serial: 424242 }).raw]);
  t.equal(verdict([twin, alice], withCrl(list)), 'ok', "a proxy's serial means nothing");
  t.equal(verdict([alice], withCrl(f.forgeCrl(ca, [], { to: -1 }))), 'crl', 'expired');
  t.equal(verdict([alice], withCrl(f.forgeCrl({ ...ca, key: f.ecKey() }, []))), 'authority-disabled', 'not signed by the authority');
  t.equal(verdict([alice], withCrl('garbage')), 'authority-disabled');
  t.equal(verdict([alice], world, { crl: 'require' }), 'crl', 'required but missing');
  t.equal(verdict([alice], withCrl(f.forgeCrl(ca, [])), { crl: 'require' }), 'ok');
});

t.test('signing policies', async (t) => {
  const policy = (conditions: string, rights = 'pos_rights'): string => `access_id_CA\tX509\t'/O=Grid/CN=CA'\r\n${rights} globus CA:sign # yes\r\ncond_subjects globus ${conditions}\r\n`;
  const may = (text: string, subject: string): boolean => maySign(readSigningPolicy(text), '/O=Grid/CN=CA', subject);
  t.ok(may(policy(`'"/O=Grid/*"'`), '/O=Grid/CN=A'));
  t.ok(may(policy(`'"/O=Else/*" "/o=grid/*"'`), '/O=Grid/CN=A'), 'several patterns, any case');
  t.ok(may(policy(`'/O=Grid/*'`), '/O=Grid/CN=A'), 'without the inner quotes');
  t.notOk(may(policy(`'"/O=Grid/*"'`), '/O=Grid/'), 'the star is at least one character');
  t.notOk(may(policy(`'"/O=*/CN=*"'`), '/O=Grid/CN=A'), 'only the last star is one');
  t.notOk(may(policy(`'"/O=Grid/*"'`), '/O=Gridlock/CN=A'));
  t.notOk(may(policy(`'"/O=Grid/*"'`) + policy(`'"/O=Grid/CN=Bad*"'`, 'neg_rights'), '/O=Grid/CN=Bad1'));
  t.notOk(maySign(readSigningPolicy(policy(`'"*"'`)), '/O=Other/CN=CA', '/O=Grid/CN=A'), 'a policy for another authority');
  for (const bad of ['nonsense x y', "cond_subjects globus '\"*\"'", "access_id_CA X509 '/O=open", 'pos_rights globus']) t.throws(() => readSigningPolicy(bad), SigningPolicyError);
  fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => onlyThrows(() => readSigningPolicy(text), SigningPolicyError)));
});

t.test('a trust directory follows its files; one broken file disables one authority', async (t) => {
  const directory = freshDirectory();
  const hash = f.installAuthority(directory, ca.pem);
  const other = f.forge({ subject: '/O=Grid/CN=Other', extensions: f.authorityExtensions });
  const bob = f.forge({ issuer: other, subject: '/O=Grid/CN=Bob' });
  const open = TrustDirectory.open(directory, log);
  const code = (chain: f.Forged): string => {
    const result = validateChain([chain.raw], open.refresh(), new Date());
    return result.ok ? 'ok' : result.refusal.code;
  };
  t.equal(code(bob), 'unknown-authority');
  const otherHash = f.installAuthority(directory, other.pem);
  t.equal(code(bob), 'ok', 'a new authority');
  t.equal(open.refresh(), open.refresh(), 'nothing changed, nothing made again');
  writeFileSync(join(directory, `${otherHash}.signing_policy`), 'oops');
  t.equal(code(bob), 'authority-disabled');
  t.equal(code(alice), 'ok', 'the other one goes on');
  const result = validateChain([bob.raw], open.refresh(), new Date());
  t.match(result, { refusal: { file: join(directory, `${otherHash}.signing_policy`), certificate: '/O=Grid/CN=Other' } });
  rmSync(join(directory, `${hash}.0`));
  t.equal(code(alice), 'unknown-authority', 'removed');
  writeFileSync(join(directory, '01234567.0'), ca.pem);
  t.equal(code(alice), 'unknown-authority', 'under a name that is not its hash');
});

t.test('issuing: keys, certificates, proxies, requests', async (t) => {
  for (const kind of ['ec', 'rsa'] as const) {
    const directory = freshDirectory();
    const grid = await makeAuthority({ subject: '/O=Grid/CN=Issuing CA', days: 10, kind });
    f.installAuthority(directory, grid.certificate);
    const user = await makeKey(kind);
    const { certificate, serial } = await issueCertificate({ issuer: grid, subject: '/O=Grid/CN=Al\\xC3\\xAD', publicKey: user.publicKey, notAfter: hour(5000), usage: 'user' });
    t.match(serial, /^[4-7][0-9a-f]{31}$/, 'positive, 16 bytes');
    t.equal(readCertificate(certificatesOf(certificate)[0] as Uint8Array).notAfter, readCertificate(certificatesOf(grid.certificate)[0] as Uint8Array).notAfter, 'not beyond the issuer');
    const first = await issueProxy({ issuer: { certificate, key: user.key }, notAfter: hour(12), kind, pathLength: 2 });
    const second = await issueProxy({ issuer: { certificate: first.chain, key: first.key as string }, notAfter: hour(99), limited: true });
    const chain = certificatesOf(second.chain);
    t.equal(verdict(chain, directory), 'ok', kind);
    t.equal(certificatesOf(second.chain).length, 3);
    const third = await issueProxy({ issuer: { certificate: second.chain, key: second.key as string }, notAfter: hour(1) });
    t.match(validateChain(certificatesOf(third.chain), trust(directory), new Date()), { ok: true, identity: { subject: '/O=Grid/CN=Al\\xC3\\xAD', limited: true } }, 'limited stays limited');
    await t.rejects(issueProxy({ issuer: { certificate: third.chain, key: third.key as string }, notAfter: hour(1) }), DerError, 'path length');
    if (!noOpenssl) {
      const file = join(home, `${kind}.pem`);
      writeFileSync(file, second.chain);
      writeFileSync(`${file}.ca`, grid.certificate);
      t.match(execFileSync('openssl', ['verify', '-allow_proxy_certs', '-auth_level', '2', '-CAfile', `${file}.ca`, '-untrusted', file, file], { encoding: 'utf8' }), /OK/, 'openssl agrees');
    }
    const request = await makeRequest(user.key);
    t.equal((await readRequest(request)).publicKey, user.publicKey);
    const forged = Buffer.from(readPem(request)[0]?.der ?? []);
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    await t.rejects(readRequest(`-----BEGIN CERTIFICATE REQUEST-----\n${forged.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`), DerError);
    const overlay = await issueCertificate({ issuer: grid, subject: '/O=Grid/CN=Alice', append: ['abcdefgh', 'n1.abcdefgh'], publicKey: user.publicKey, notAfter: hour(1), usage: 'overlay-node' });
    t.equal(readCertificate(certificatesOf(overlay.certificate)[0] as Uint8Array).subject, '/O=Grid/CN=Alice/CN=abcdefgh/CN=n1.abcdefgh');
    if (kind === 'rsa') continue;
    const begun = performance.now();
    for (let i = 0; i < 100; i++) await issueCertificate({ issuer: grid, subject: '/O=Grid/CN=Alice', append: ['abcdefgh', `n${i}.abcdefgh`], publicKey: user.publicKey, notAfter: hour(1), usage: 'overlay-node' });
    const each = (performance.now() - begun) / 100;
    t.ok(each < 5, `${each.toFixed(2)} ms a certificate`);
  }
});

t.test('DNs in files: map, bans, roles', async (t) => {
  const map = readGridMap(
    ['# comment', '', '"/O=Grid/CN=Alice" alice,second', '/O=Grid/CN=bare bare', '"/O=Grid/CN=host/foo.example.org" service', '"/O=Gr\\xc3\\xbcn/CN=x" hex', '"/O=Rot/CN=Gr\u00fcn" utf8',
      '"/O=Grid/CN=say \\"hi\\"" quoted', '"/O=Grid/CN=broken', '"/O=Grid/CN=none"', '"/O=Grid/CN=Alice" other', '"/O=x\\/CN=Alice" escaped', '"/O=y/CN=Alice" plain', '/O=Grid/CN=root ../../x'].join('\r\n'),
    'map', log);
  t.equal(accountOf(map, '/O=Grid/CN=Alice'), 'alice', 'the first line and its first account');
  t.equal(accountOf(map, '/o=grid/cn=ALICE'), 'alice', 'case does not matter');
  t.equal(accountOf(map, '/O=Grid/CN=bare'), 'bare');
  t.equal(accountOf(map, '/O=Grid/CN=host\\/foo.example.org'), 'service', 'a service name from an old file');
  t.equal(accountOf(map, '/O=Gr\\xC3\\xBCn/CN=x'), 'hex');
  t.equal(accountOf(map, '/O=Rot/CN=Gr\\xC3\\xBCn'), 'utf8');
  t.equal(accountOf(map, '/O=Grid/CN=say "hi"'), 'quoted');
  for (const nobody of ['/O=Grid/CN=broken', '/O=Grid/CN=none', '/O=Grid/CN=root', '/O=Grid', '']) t.equal(accountOf(map, nobody), undefined);
  t.equal(accountOf(map, '/O=x\\/CN=Alice'), 'escaped');
  t.equal(accountOf(map, '/O=x/CN=Alice'), undefined, 'an escaped slash is not a plain one');
  t.equal(accountOf(map, '/O=y\\/CN=Alice'), undefined, 'nor the other way round');

  const bans = readBans('# nobody of these\n"/O=Grid/CN=Mallory"\n/O=Evil Corp/*\n');
  t.ok(isBanned(bans, '/o=grid/cn=mallory'));
  t.ok(isBanned(bans, '/O=Evil Corp/CN=x'));
  t.notOk(isBanned(bans, '/O=Grid/CN=Mallory2'));
  t.throws(() => readBans('/O=Grid/CN=fine\n"/O=Grid/CN=open'), /line 2/);

  const roles = readRoles('"/O=Grid/CN=Alice" site-admin, user\n"/O=Grid/CN=Bob" king\n"/O=Grid/CN=Alice" grid-admin', 'roles', log);
  t.same(rolesOf(roles, '/O=Grid/CN=alice'), ['site-admin', 'user', 'grid-admin']);
  t.same(rolesOf(roles, '/O=Grid/CN=Bob'), []);

  fc.assert(fc.property(fc.string({ maxLength: 120, unit: 'binary' }), (line) => onlyThrows(() => readDnLine(line), LineError) && onlyThrows(() => readBans(line), LineError) && readGridMap(line, 'map', log).size >= 0));
  fc.assert(fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 4 }), (values) => {
    const dn = globusDn(sequence(...values.map((value) => der(0x31, sequence(oid('2.5.4.3'), der(0x0c, value))))));
    return values.some((value) => value.includes(0x5c)) || readDnLine(`${quoteDn(dn)} account`)?.dn === dn;
  }));
  const begun = performance.now();
  readGridMap('"/O=Grid/CN=' + '\\"'.repeat(200_000), 'map', log);
  readGridMap(Array.from({ length: 20_000 }, (_, index) => `"/O=Grid/CN=User ${index}" u${index}`).join('\n'), 'map', log);
  t.ok(performance.now() - begun < 2_000, 'linear');
});

t.test('the authenticator', async (t) => {
  const file = (name: string): string => join(home, name);
  const directory = freshDirectory();
  f.installAuthority(directory, ca.pem);
  writeFileSync(file('map'), '"/O=Grid/CN=Alice" alice\n');
  writeFileSync(file('bans'), '');
  writeFileSync(file('roles'), '"/O=Grid/CN=Alice" grid-admin\n"/O=Grid/CN=Site" site-admin\n');
  const make = (): Authenticator => new Authenticator(TrustDirectory.open(directory, log), { gridmap: file('map'), bans: file('bans'), roles: file('roles') }, log);
  const authenticator = make();
  const proxy = proxyOf(alice, undefined, { to: 30 });
  const chain = [proxy.raw, alice.raw];
  const refusal = (of: Authenticator, sent: readonly Uint8Array[], now = new Date()): GridError => {
    try {
      of.authenticate(sent, now);
    } catch (error) {
      if (isGridError(error)) return error;
      throw error;
    }
    throw new Error('was let in');
  };
  t.same(authenticator.authenticate(chain, new Date()), { subject: '/O=Grid/CN=Alice', account: 'alice', roles: ['user', 'grid-admin'], issuer: '/O=Grid/CN=CA', fqans: [], vo: '', limited: false, notAfter: readCertificate(proxy.raw).notAfter, certificateNotAfter: readCertificate(alice.raw).notAfter });
  const site = f.forge({ issuer: ca, subject: '/O=Grid/CN=Site' });
  t.match(authenticator.authenticate([site.raw], new Date()), { account: '', roles: ['site-admin'] }, 'a role without an account');
  const expired = refusal(authenticator, chain, new Date(Date.now() + 31 * 60_000));
  t.equal(expired.kind, 'not-authenticated', 'checked again with each request');
  t.match(expired.message, /^certificate \/O=Grid\/CN=Alice\/CN=\d+: it expired at 2/);
  const bob = refusal(authenticator, [f.forge({ issuer: ca, subject: '/O=Grid/CN=Bob' }).raw]);
  t.equal(bob.kind, 'not-authorized');
  t.match(bob.message, file('map'));
  t.match(bob.hint, /"\/O=Grid\/CN=Bob" ACCOUNT/);
  const free = refusal(authenticator, [proxyOf(alice, [f.proxyInfo(oids.independent)]).raw, alice.raw]);
  t.match(free.message, /independent proxy/);
  t.equal(refusal(authenticator, []).kind, 'not-authenticated');

  writeFileSync(file('bans'), '"/O=Grid/CN=Alice"\n');
  await new Promise((resolve) => setTimeout(resolve, 1_050));
  t.match(refusal(authenticator, chain).message, /"\/O=Grid\/CN=Alice" is banned here/, 'on a connection that was let in before');
  writeFileSync(file('bans'), '"/O=Grid/CN=CA"\n');
  t.match(refusal(make(), chain).message, /CN=CA" is banned/, 'an authority');
  writeFileSync(file('bans'), '"/O=Grid');
  t.equal(refusal(make(), chain).kind, 'unavailable', 'a ban file that cannot be read lets nobody in');
  rmSync(file('bans'));
  t.equal(refusal(make(), chain).kind, 'unavailable');
  writeFileSync(file('bans'), '');
  rmSync(file('map'));
  t.equal(refusal(make(), chain).kind, 'unavailable', 'no map');
  writeFileSync(file('map'), '"/O=Grid/CN=Alice" alice\n');
  const warm = make();
  warm.authenticate(chain, new Date());
  const begun = performance.now();
  for (let i = 0; i < 1_000; i++) warm.authenticate(chain, new Date());
  const kept = (performance.now() - begun) / 1_000;
  t.ok(kept < 0.5, `${kept.toFixed(3)} ms on a kept connection`);
});

t.test('chains as Node reads them from TLS', async (t) => {
  const host = f.forge({ issuer: ca, subject: '/O=Grid/CN=localhost', extensions: [f.altName('localhost')] });
  const chains: string[][] = [];
  const server = createServer({ ...tlsServerOptions, cert: host.pem, key: host.keyPem }, (socket) => {
    chains.push(peerChain(socket).map((raw) => readCertificate(raw).subject));
    socket.on('error', () => undefined).end('seen');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const send = async (version: 'TLSv1.2' | 'TLSv1.3', leaf?: f.Forged, rest: readonly f.Forged[] = []): Promise<string[] | undefined> => {
    const socket: TLSSocket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', rejectUnauthorized: false, minVersion: version, maxVersion: version, ...(leaf ? { cert: leaf.pem + rest.map(({ pem }) => pem).join(''), key: leaf.keyPem } : {}) });
    await once(socket, 'data');
    socket.destroy();
    return chains.at(-1);
  };
  const one = proxyOf(alice);
  const two = proxyOf(one);
  const names = (...chain: readonly f.Forged[]): string[] => chain.map(({ subject }) => globusDn(subject));
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    t.same(await send(version, two, [one, alice]), names(two, one, alice), version);
    t.same(await send(version, alice), names(alice));
    t.same(await send(version), [], 'no certificate');
    t.same(new Set(await send(version, two, [alice, one])), new Set(names(two, one, alice)), 'in the wrong order');
  }
});

t.test('proxy files', async (t) => {
  const grid: Issuer = await makeAuthority({ subject: '/O=Grid/CN=Files', days: 10, kind: 'rsa' });
  const user = await makeKey('rsa');
  const { certificate } = await issueCertificate({ issuer: grid, subject: '/O=Grid/CN=Alice', publicKey: user.publicKey, notAfter: hour(200), usage: 'user' });
  const directory = join(home, 'proxies');
  mkdirSync(directory);
  const path = join(directory, 'proxy');
  const refusal = async (): Promise<string> => readProxyFile(path).then(() => '', (error: GridError) => `${error.kind}: ${error.message}; ${error.hint}`);
  t.match(await refusal(), /not-authenticated: .*no such file; .*X509_USER_PROXY/);
  const { chain, key } = await issueProxy({ issuer: { certificate, key: user.key }, notAfter: hour(12), kind: 'rsa', limited: true });
  await writeProxyFile(path, { chain, key: key as string });
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.same(readPem(readFileSync(path, 'utf8')).map(({ label }) => label), ['CERTIFICATE', 'RSA PRIVATE KEY', 'CERTIFICATE'], 'the order of Globus');
  t.equal((await readProxyFile(path, process.getuid?.())).chain, chain);
  t.match(describeProxy(readFileSync(path, 'utf8')), { identity: '/O=Grid/CN=Alice', issuer: '/O=Grid/CN=Alice', kind: 'limited', strength: 2048, algorithm: 'RSA', depth: 1 });
  chmodSync(path, 0o640);
  t.match(await refusal(), /others may read it \(mode 640\); chmod 600/);
  chmodSync(path, 0o600);
  writeFileSync(path, chain + user.key);
  t.match(await refusal(), /key does not belong/);
  writeFileSync(path, chain);
  t.match(await refusal(), /no private key/);
  const ec = await makeKey('ec');
  const short = await issueProxy({ issuer: { certificate, key: user.key }, notAfter: hour(1), publicKey: ec.publicKey });
  for (const type of ['sec1', 'pkcs8'] as const) t.ok(parseCredential(short.chain + (f.openKey(ec.key).export({ type, format: 'pem' }) as string)), type);
  t.throws(() => parseCredential(short.chain + (f.openKey(ec.key).export({ type: 'pkcs8', format: 'pem', cipher: 'aes256', passphrase: 'x' }) as string)), /encrypted/);
  fc.assert(fc.property(fc.string({ maxLength: 300 }), (text) => onlyThrows(() => parseCredential(`-----BEGIN CERTIFICATE-----\n${text}`), DerError)));
});

const noGlobus = process.getuid?.() !== 0 ? 'needs root' : spawnSync('grid-proxy-info', ['-version']).status !== 0 ? 'globus-proxy-utils is not installed' : false;
t.test('proxy files of the Globus tools, and ours read by them', { skip: noGlobus }, async (t) => {
  const grid: Issuer = await makeAuthority({ subject: '/O=Grid/CN=Globus', days: 10, kind: 'rsa' });
  const user = await makeKey('rsa');
  const { certificate } = await issueCertificate({ issuer: grid, subject: '/O=Grid/CN=Alice', publicKey: user.publicKey, notAfter: hour(200), usage: 'user' });
  const { chain, key } = await issueProxy({ issuer: { certificate, key: user.key }, notAfter: hour(12), kind: 'rsa', limited: true });
  const ec = await makeKey('ec');
  const short = await issueProxy({ issuer: { certificate, key: user.key }, notAfter: hour(1), publicKey: ec.publicKey });
  const directory = join(home, 'globus');
  mkdirSync(directory);
  const path = join(directory, 'proxy');
  const trusted = freshDirectory();
  f.installAuthority(trusted, grid.certificate);
  const env = { ...process.env, X509_CERT_DIR: trusted, X509_USER_PROXY: path };
  await writeProxyFile(path, { chain, key: key as string });
  const shown = execFileSync('grid-proxy-info', [], { env, encoding: 'utf8' });
  t.match(shown, /identity : \/O=Grid\/CN=Alice\n/, 'grid-proxy-info reads our file');
  t.match(shown, /limited/i);
  await writeProxyFile(path, { chain: short.chain, key: ec.key });
  t.match(spawnSync('grid-proxy-info', ['-identity'], { env, encoding: 'utf8' }).stdout, /\/O=Grid\/CN=Alice/, 'an EC proxy too');
  rmSync(path);
  writeFileSync(join(directory, 'cert'), certificate);
  writeFileSync(join(directory, 'key'), user.key, { mode: 0o600 });
  for (const words of [[], ['-limited']]) {
    const made = spawnSync('grid-proxy-init', ['-cert', join(directory, 'cert'), '-key', join(directory, 'key'), '-out', path, '-pwstdin', '-verify', ...words], { env, input: '\n', encoding: 'utf8' });
    t.equal(made.status, 0, made.stderr);
    const theirs = await readProxyFile(path);
    t.match(validateChain(certificatesOf(theirs.chain), trust(trusted), new Date()), { ok: true, identity: { subject: '/O=Grid/CN=Alice', limited: words.length > 0 } }, `we read grid-proxy-init ${words.join(' ')}`);
    t.match(describeProxy(readFileSync(path, 'latin1')), { kind: words.length > 0 ? 'limited' : 'proxy', depth: 1 });
  }
});

t.test('parsers: nothing but their own errors, and time that grows with the length', async (t) => {
  const words = fc.constantFrom('access_id_CA', 'X509', "'/O=Grid/CN=CA'", 'pos_rights', 'globus', 'CA:sign', 'cond_subjects', `'"/O=Grid/*"'`, '"', "'", '#', '*', ' ', '\t', '\r\n', '\n', '/O=Grid/CN=x', '------ NEXT CHAIN ------');
  const texts = fc.array(words, { maxLength: 60 }).map((list) => list.join(' '));
  fc.assert(fc.property(texts, (text) => onlyThrows(() => maySign(readSigningPolicy(text), '/O=Grid/CN=CA', '/O=Grid/CN=x'), SigningPolicyError) && onlyThrows(() => readLsc(text), LscError)), { numRuns: 1500 });
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => onlyThrows(() => readLsc(text), LscError) && onlyThrows(() => readPem(text), DerError)));
  const list = Buffer.from(readPem(f.forgeCrl(ca, [alice.raw]))[0]?.der ?? []);
  fc.assert(
    fc.property(fc.nat(list.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const bytes = Buffer.from(list);
      bytes[at] = (bytes[at] ?? 0) ^ flip;
      return onlyThrows(() => {
        if (readCrl(bytes).signedBy(readCertificate(ca.raw), false)) throw new Error(`byte ${at} does not matter`);
      }, DerError);
    }),
    { numRuns: 600 },
  );
  const seconds = (work: () => unknown): number => {
    const begun = performance.now();
    onlyThrows(work, Error);
    return performance.now() - begun;
  };
  const nested = Buffer.concat([Buffer.from('30831fffff', 'hex'), ...Array.from({ length: 12_000 }, () => Buffer.from('3080', 'hex'))]);
  for (const [name, work] of [
    ['signing policy of quotes', () => readSigningPolicy(`cond_subjects globus '${'" '.repeat(200_000)}'`)],
    ['signing policy of spaces', () => readSigningPolicy(' '.repeat(1_000_000))],
    ['signing policy of patterns', () => readSigningPolicy(`access_id_CA X509 '/CN=x'\npos_rights globus CA:sign\ncond_subjects globus '${'"/O=*"'.repeat(100_000)}'`)],
    ['a policy of stars', () => maySign(readSigningPolicy(`access_id_CA X509 '/CN=x'\npos_rights globus CA:sign\ncond_subjects globus '"${'*'.repeat(100_000)}"'`), '/CN=x', `/CN=${'a'.repeat(4000)}`)],
    ['.lsc', () => readLsc('/'.repeat(60_000))],
    ['PEM', () => readPem('-----BEGIN A-----\n'.repeat(100_000))],
    ['PEM of one long line', () => readPem(`-----BEGIN A-----\n${'A'.repeat(3_000_000)}\n-----END A-----`)],
    ['DER', () => readCertificate(nested)],
    ['CRL', () => readCrl(nested)],
    ['DN', () => encodeDn('/CN='.repeat(1000))],
  ] as const) t.ok(seconds(work) < 500, name);
});

t.test('what strangers send is read in bounded time', async (t) => {
  const many = Array.from({ length: 60 }, () => f.forge({ issuer: { subject: alice.subject, key: f.ecKey() }, subject: alice.subject }));
  const begun = performance.now();
  verdict([proxyOf(alice), ...many]);
  t.equal(verdict([randomBytes(100_000)]), 'malformed');
  const spent = performance.now() - begun;
  t.ok(spent < 1_000, `${spent.toFixed(0)} ms`);
});
