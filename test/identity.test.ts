/** Identity around the validator: DER and names, trust directories, issuing, map, bans, roles, the authenticator, proxy files; fuzzed parsers. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import fc from 'fast-check';
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
import { DerError, readChildren, readOid, readOne, readTime } from '../src/pki/der.js';
import { der, oid, sequence } from '../src/pki/der-write.js';
import { comparableDn, encodeDn, globusDn } from '../src/pki/dn.js';
import { issueCertificate, issueProxy, makeAuthority, makeKey, makeRequest, readRequest, type Issuer } from '../src/pki/issue.js';
import * as oids from '../src/pki/oids.js';
import { certificatesOf, readPem } from '../src/pki/pem.js';
import { parseCredential, proxyInfo as describeProxy, readProxyFile, writeProxyFile } from '../src/pki/proxy-file.js';
import { maySign, readSigningPolicy, SigningPolicyError } from '../src/pki/signing-policy.js';
import { LscError, readLsc } from '../src/pki/voms-trust.js';
import { peerChain, tlsServerOptions } from '../src/pki/tls.js';
import { nameHashes, TrustDirectory } from '../src/pki/trust-directory.js';
import * as f from './support/forge.js';
import { alice, ca, freshDirectory, home, hour, log, onlyThrows, proxyOf, trust, verdict } from './support/pki-world.js';

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
