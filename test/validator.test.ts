/** The validator: RFC 5280 paths, RFC 3820 proxies, CRLs, signing policies. Generated chains, each rule with both verdicts. */
import { generateKeyPairSync } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { readCertificate } from '../src/pki/certificate.js';
import { validateChain } from '../src/pki/chain.js';
import { context } from '../src/pki/der.js';
import { der, oid, sequence } from '../src/pki/der-write.js';
import { encodeDn } from '../src/pki/dn.js';
import * as oids from '../src/pki/oids.js';
import { maySign, readSigningPolicy, SigningPolicyError } from '../src/pki/signing-policy.js';
import { nameHashes } from '../src/pki/trust-directory.js';
import * as f from './support/forge.js';
import { alice, ca, freshDirectory, home, onlyThrows, proxyOf, trust, verdict, world } from './support/pki-world.js';

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
