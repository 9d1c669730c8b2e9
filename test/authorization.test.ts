/** Who is let in, as whom, who may do what and how much: map, bans, roles, rules, quotas, credentials' least life, `gridvc authz explain`. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { Authorizer, defaultRules } from '../gatekeeper/authorization/authorizer.js';
import { operations, type Operation } from '../gatekeeper/authorization/operations.js';
import { excess, quotasOf, readQuotas } from '../gatekeeper/authorization/quotas.js';
import { decide, readRules, type Subject } from '../gatekeeper/authorization/rules.js';
import { checkCredential, leaseOf } from '../gatekeeper/cluster/lease.js';
import { parseGatekeeperConfig } from '../gatekeeper/config.js';
import { admit, isKnown } from '../gatekeeper/identity/admission.js';
import { Authenticator } from '../gatekeeper/identity/authenticator.js';
import { findBan, readBans } from '../gatekeeper/identity/ban-file.js';
import { LineError } from '../gatekeeper/identity/dn-line.js';
import { mapName, readGridMap } from '../gatekeeper/identity/grid-mapfile.js';
import { isFqan, matchesName, namePattern, voOf } from '../gatekeeper/identity/name-pattern.js';
import { readRoles, rolesOf } from '../gatekeeper/identity/roles-file.js';
import type { GridError } from '../src/domain/error.js';
import type { Caller, Role } from '../src/domain/views.js';
import { makeLog } from '../src/log.js';
import { issueCertificate, makeAuthority, makeKey } from '../src/pki/issue.js';
import { certificatesOf } from '../src/pki/pem.js';
import { TrustDirectory } from '../src/pki/trust-directory.js';
import { installAuthority } from './support/forge.js';
import { gridvc } from './support/grid.js';

const log = makeLog('test', 'silent');
const home = mkdtempSync(join(tmpdir(), 'gridvc-authorization-'));
t.teardown(() => rmSync(home, { recursive: true, force: true }));
const file = (name: string, text: string): string => {
  writeFileSync(join(home, name), text);
  return join(home, name);
};
const who = (more: Partial<Caller> = {}): Caller => ({ subject: '/O=Grid/CN=Alice', account: 'alice', roles: ['user'], issuer: '/O=Grid/CN=CA', fqans: [], vo: '', limited: false, notAfter: Date.now() + 12 * 3600_000, certificateNotAfter: Date.now() + 300 * 86_400_000, ...more });

t.test('patterns of names', async (t) => {
  const dn = (pattern: string, name: string): boolean => matchesName(namePattern(pattern), 'dn', name);
  t.ok(dn('/O=Grid/*', '/o=grid/CN=Alice'), 'any case');
  t.ok(dn('/O=Grid/*/CN=Alice', '/O=Grid/OU=a/OU=b/CN=Alice'));
  t.ok(dn('*', '/O=Grid'));
  t.ok(dn('*/UID=a*', '/O=Grid/USERID=abc'), 'other names of the same');
  t.notOk(dn('/O=Grid/*', '/O=Gridlock/CN=x'));
  t.notOk(dn('/O=Grid/*/CN=Alice', '/O=Grid/OU=x\\/CN=Alice'), 'a slash in a value is none between parts');
  t.ok(dn('/O=Grid/CN=x\\/CN=Alice', '/O=Grid/CN=x\\/CN=Alice'));
  t.notOk(dn('/O=Grid/CN=a*a', '/O=Grid/CN=a'), 'one letter is not two');
  const fqan = (pattern: string, name: string): boolean => matchesName(namePattern(pattern), 'fqan', name);
  t.ok(fqan('/vo/group/Role=x', '/vo/group/Role=x/Capability=NULL'));
  t.ok(fqan('/vo', '/vo/Role=NULL/Capability=NULL'));
  t.notOk(fqan('/vo', '/vo/Role=x'), 'a group is not its roles');
  t.ok(fqan('/vo/*', '/vo/group/Role=x'));
  t.ok(fqan('/vo/*', '/vo'), 'and the group itself');
  t.notOk(fqan('/vo/*', '/vote/Role=x'));
  t.ok(fqan('/vo/*/Role=x', '/vo/a/b/Role=x'));
  t.notOk(fqan('/VO', '/vo'), 'letter by letter');
  t.notOk(matchesName(namePattern('/vo/*'), 'dn', '/vo/CN=x'), 'a pattern of FQANs says nothing of DNs');
  t.same(['/vo', '/vo/g/Role=x', '/*', '/O=Grid', '/CN=host/x.org', '*'].map(isFqan), [true, true, true, false, false, false]);
  t.same([voOf(['/bio/med/Role=x', '/other']), voOf([])], ['bio', '']);
  const begun = performance.now();
  matchesName(namePattern(`/O=${'*a'.repeat(4000)}`), 'dn', `/O=${'a'.repeat(8000)}b`);
  t.ok(performance.now() - begun < 200, 'no pattern takes long');
});

t.test('the map: people first, then FQANs, the primary one first', async (t) => {
  const map = readGridMap(['"/atlas/Role=production" prod', '"/atlas/*" .atlas', '"/O=Grid/CN=Alice" alice', '/biomed/* bio', '"/atlas" never', '"/O=Grid/CN=*" star'].join('\n'), 'map', log);
  const account = (subject: string, ...fqans: string[]): string | undefined => mapName(map, subject, fqans)?.account;
  t.equal(account('/O=Grid/CN=Alice', '/atlas/Role=production'), 'alice', "a person's own line");
  t.equal(account('/O=Grid/CN=Bob', '/atlas/Role=production/Capability=NULL', '/biomed'), 'prod');
  t.equal(account('/O=Grid/CN=Bob', '/biomed/x', '/atlas/Role=production'), 'bio', 'the primary one');
  t.equal(account('/O=Grid/CN=Bob', '/none', '/atlas'), '.atlas', 'the next one; the first line that fits');
  t.equal(account('/O=Grid/CN=Bob'), undefined, 'a star in a DN is a letter');
  t.equal(account('/O=Grid/CN=*'), 'star');
  t.same(mapName(map, '/O=Grid/CN=Bob', ['/biomed']), { account: 'bio', line: 4, by: '/biomed/*' });
  const roles = readRoles('"/atlas/Role=admin" site-admin\n"/O=Grid/CN=Alice" grid-admin', 'roles', log);
  t.same(rolesOf(roles, '/O=Grid/CN=Alice', ['/atlas/Role=admin']), ['grid-admin', 'site-admin']);
  t.same(rolesOf(roles, '/O=Grid/CN=Bob', ['/atlas']), []);
});

t.test('bans', async (t) => {
  const bans = readBans(['"/O=Grid/*/CN=Mallory"', '/evil/*', '# no', 'ca "/O=Bad*"', '/O=Worse/CN=CA'].join('\n'));
  const line = (of: { names?: string[]; fqans?: string[]; authorities?: string[] }): number | undefined => findBan(bans, { names: [], fqans: [], authorities: [], ...of })?.line;
  t.equal(line({ names: ['/O=Grid/OU=x/CN=mallory'] }), 1);
  t.equal(line({ names: ['/O=Grid/OU=x\\/CN=Mallory'] }), undefined);
  t.equal(line({ fqans: ['/fine', '/evil/Role=x'] }), 2, 'also one that is not primary');
  t.equal(line({ fqans: ['/evil'] }), 2);
  t.equal(line({ authorities: ['/O=Bad/CN=CA'], names: ['/O=Grid/CN=x', '/O=Bad/CN=CA'] }), 4);
  t.equal(line({ names: ['/O=Bad/CN=User'] }), undefined, 'an authority, not a user of that name');
  t.equal(line({ names: ['/O=Grid/CN=x', '/O=Worse/CN=CA'] }), 5, 'any name of the chain');
  for (const bad of ['ca', 'ca /vo/*', '"/O=Grid', '"/O=x" y', 'nobody']) t.throws(() => readBans(`/O=Fine\n${bad}`), { name: 'LineError', message: /line 2/ }, bad);
  const speaker = { subject: '/O=Grid/CN=Bob', fqans: ['/evil'], names: ['/O=Grid/CN=Bob'], authorities: [] };
  const admission = admit({ map: readGridMap('"/O=Grid/CN=Bob" bob', 'map', log), bans }, speaker);
  t.match(admission, { ban: { name: '/evil', line: 2 }, mapped: { account: 'bob' }, roles: ['user'] });
  t.notOk(isKnown(admit({ map: readGridMap('', 'map', log) }, speaker)));
});

t.test('rules: the first one that fits, deny by default', async (t) => {
  const rules = readRules(
    ['deny * ca="/O=Old CA*"', 'permit createCluster,plan fqan="/vo/Role=x" # they may', 'deny createCluster limited', 'permit createCluster dn=/O=Grid/CN=Alice vo=vo', 'permit getCluster role=user role=site-admin'].join('\n'));
  const line = (operation: Operation, more: Partial<Subject> = {}): number | undefined => decide(rules, who(more), operation).rule?.line;
  t.equal(line('plan', { issuer: '/O=Old CA/CN=1', fqans: ['/vo/Role=x'] }), 1);
  t.equal(line('plan', { fqans: ['/a', '/vo/Role=x'] }), 2);
  t.equal(line('createCluster', { fqans: ['/vo/Role=x'], limited: true }), 2, 'the first one, not the strictest');
  t.equal(line('createCluster', { limited: true }), 3);
  t.equal(line('createCluster', { vo: 'vo' }), 4);
  t.equal(line('createCluster'), undefined, 'all conditions of a line');
  t.same(decide(rules, who(), 'createCluster'), { permitted: false });
  t.equal(line('getCluster', { roles: ['user', 'site-admin'] }), 5);
  t.equal(rules[1]?.text, 'permit createCluster,plan fqan="/vo/Role=x"', 'as written, without the comment');
  for (const [bad, message] of [['allow *', /neither permit nor deny/], ['permit', /must be operations/], ['permit fly', /"fly" is not an operation; allowed: plan,/], ['permit * role=king', /not a role/], ['permit * dn="/vo/x"', /not a DN/], ['permit * fqan="/O=Grid"', /not an FQAN/], ['permit * dn="/O=x', /a quote is open/], ['permit * colour=red', /not a condition/], ['permit * limited=yes', /not a condition/], ['permit * vo=a/b', /name of a VO/], ['permit * dn', /not a condition/]] as const) {
    t.throws(() => readRules(`permit plan\n${bad}`), { name: 'LineError', message }, bad);
    t.throws(() => readRules(`permit plan\n${bad}`), /line 2/);
  }
  fc.assert(fc.property(fc.string({ maxLength: 200, unit: 'binary' }), fc.constantFrom('', 'permit ', 'deny * dn="', 'user ', 'vo x '), (text, start) => [readRules, readQuotas, readBans].every((read) => onlyLineErrors(() => read(start + text)))));
  const begun = performance.now();
  onlyLineErrors(() => readRules(`permit * ${'a'.repeat(7000)}`));
  onlyLineErrors(() => readRules(`permit * ${'a="'.repeat(2000)}`));
  onlyLineErrors(() => readRules(`permit * dn="${'\\'.repeat(8000)}`));
  t.ok(performance.now() - begun < 200, 'linear');
});

t.test('the rules that are shipped', async (t) => {
  const authorizer = new Authorizer({}, log);
  const everybody: readonly Operation[] = ['plan', 'getCluster', 'listClusters', 'awaitEvents', 'extendLifetime', 'destroyCluster', 'getAccess', 'openTunnel', 'putFile', 'putDelegation', 'listSites'];
  const admins: readonly Operation[] = ['registerSite', 'setSiteState', 'unregisterSite'];
  const allowed = (roles: readonly Role[], limited: boolean): readonly Operation[] => [
    ...everybody,
    ...(limited ? [] : (['requestDelegation'] as const)),
    ...(roles.includes('user') && !limited ? (['createCluster', 'submitJob'] as const) : []),
    ...(roles.some((role) => role !== 'user') ? admins : []),
    ...(roles.includes('grid-admin') ? (['anyOwner'] as const) : []),
  ];
  const sets: readonly (readonly Role[])[] = [[], ['user'], ['site-admin'], ['grid-admin'], ['user', 'site-admin', 'grid-admin']];
  for (const roles of sets) {
    for (const limited of [false, true]) {
      t.same(operations.filter((each) => authorizer.may(who({ roles, limited }), each)), operations.filter((each) => allowed(roles, limited).includes(each)), `${roles.join(', ') || 'no role'}${limited ? ', limited' : ''}`);
    }
  }
  const refusal = (caller: Caller, operation: Operation): GridError => {
    try {
      authorizer.check(caller, operation);
    } catch (error) {
      return error as GridError;
    }
    throw new Error('permitted');
  };
  t.match(refusal(who({ limited: true }), 'createCluster'), { kind: 'not-authorized', message: new RegExp(`a limited proxy may not createCluster \\(.*default.rules:\\d+\\)`), hint: /full proxy/ });
  t.match(refusal(who({ roles: ['site-admin'] }), 'createCluster'), { message: /no account here/, hint: /grid-mapfile/ });
  t.match(refusal(who(), 'registerSite'), { message: /is neither site-admin nor grid-admin/, hint: /roles file/ });
});

t.test('files are read again, and a broken one stops everybody', async (t) => {
  const path = file('rules', 'permit * role=user\n');
  const authorizer = new Authorizer({ rules: path, quotas: file('quotas-none', '') }, log);
  t.ok(authorizer.may(who(), 'createCluster'));
  file('rules', 'deny createCluster\npermit * role=user\n');
  await sleep(1_050);
  t.throws(() => authorizer.check(who(), 'createCluster'), { kind: 'not-authorized', message: new RegExp(`denies it \\(${path}:1\\)`) });
  file('rules', 'permit everything');
  await sleep(1_050);
  t.throws(() => authorizer.may(who(), 'plan'), { kind: 'unavailable', message: new RegExp(`${path}.*line 1`) });
  const begun = performance.now();
  const many = new Authorizer({ rules: file('many', Array.from({ length: 1000 }, (_, n) => `permit plan dn="/O=Grid/*/CN=User ${n}"`).join('\n')) }, log);
  many.may(who(), 'plan');
  const first = performance.now() - begun;
  for (let n = 0; n < 20; n++) many.may(who(), 'plan');
  t.comment(`1000 rules: read in ${first.toFixed(1)} ms, asked in ${((performance.now() - begun - first) / 20).toFixed(2)} ms`);
});

t.test('quotas of people and of VOs', async (t) => {
  const quotas = readQuotas(['user "/O=Grid/CN=Alice" clusters=2 # few', 'user /bio/Role=prod nodes=500 memory=64000', 'user "/O=Grid/*" nodes=5', 'vo bio nodes=100', 'vo * clusters=9'].join('\n'));
  const of = (more: Partial<Caller>) => quotasOf(quotas, 'q', { clusters: 50, nodes: 20 }, who(more));
  t.same(of({}).owner, { whose: '/O=Grid/CN=Alice', where: 'q:1', most: { clusters: 2, nodes: 20 } }, 'the first line; the rest is the configuration');
  t.same(of({ subject: '/O=Grid/CN=Bob', fqans: ['/bio/Role=prod'], vo: 'bio' }), { owner: { whose: '/O=Grid/CN=Bob', where: 'q:2', most: { clusters: 50, nodes: 500, memory: 64000 } }, vo: { whose: 'VO bio', where: 'q:4', most: { nodes: 100 } } });
  t.match(of({ subject: '/O=Grid/CN=Bob', vo: 'chem' }), { owner: { where: 'q:3' }, vo: { where: 'q:5' } });
  t.match(of({ subject: '/O=Else/CN=Bob' }).owner, { where: /configuration/ });
  const used = { clusters: 1, nodes: 90, memory: 60_000 };
  const asked = { clusters: 1, nodes: 8, memory: 8 * 512 };
  t.equal(excess(of({ subject: '/O=Grid/CN=Bob', fqans: ['/bio/Role=prod'] }).owner, used, asked), 'asked 4096 MiB of memory more; used are 60000, allowed are 64000 (quota of /O=Grid/CN=Bob: q:2)');
  t.equal(excess({ whose: 'VO bio', where: 'q:4', most: { nodes: 98 } }, used, asked), undefined, 'up to the last one');
  for (const bad of ['user', 'user Alice nodes=1', 'vo a/b nodes=1', 'vo x', 'vo x nodes=-1', 'vo x nodes=1 nodes=2', 'vo x disk=1', 'user "/O=x nodes=1', 'everybody nodes=1']) t.throws(() => readQuotas(bad), LineError, bad);
  const limits = parseGatekeeperConfig('home: /srv/gv\ncertificate: /c\nkey: /k\ntrust: /t\ngridmap: /g\nrules: /r\nquotas: /q\nlimits: {memoryPerOwner: 5}\noverlay: {address: 192.0.2.1, ports: {first: 1, last: 2}, ca: /o, caKey: /p}\n', 'f');
  t.match(limits, { rules: '/r', quotas: '/q', limits: { memoryPerOwner: 5, credentialMargin: 300 } });
});

t.test('how long a credential must last, and how long a lease does', async (t) => {
  const now = new Date('2026-01-01T00:00:00Z');
  const later = (seconds: number): Date => new Date(now.getTime() + seconds * 1000);
  let asked = 0;
  const estimate = (seconds: number | undefined) => async (): Promise<number | undefined> => (asked++, seconds);
  await checkCredential(later(4000), 300, estimate(9999), now);
  t.equal(asked, 0, 'a long one is not measured');
  await checkCredential(later(400), 300, estimate(99.5), now);
  await t.rejects(checkCredential(later(399), 300, estimate(99.5), now), { kind: 'not-authorized', message: /ends in 399 s.*at least 400 s are needed: 100 s to build the cluster, as estimated, and a margin of 300 s/, hint: /proxy init --hours/ });
  await t.rejects(checkCredential(later(400), 300, estimate(undefined), now), { message: /120 s to build the cluster, which no site could estimate now/ });
  await t.rejects(checkCredential(later(10), 300, () => Promise.reject(new Error('away')), now), { message: /120 s/ });
  t.same(leaseOf(now, 60, { until: later(3600), certificate: later(9e6) }), { asked: later(3600), expires: later(3600), warnings: [] });
  t.match(leaseOf(now, 60, { until: later(3000), certificate: later(9e6) }), { asked: later(3600), expires: later(3000), warnings: [/^your proxy ends before the lease/] });
  t.match(leaseOf(now, 60, { until: later(3000), certificate: later(3000) }).warnings, [/your proxy/, /^your own certificate ends before the lease, 2026-01-01T00:50:00.000Z/]);
});

t.test('gridvc authz explain', async (t) => {
  const config = file('gatekeeper.yaml', `home: /srv/gv\ncertificate: /c\nkey: /k\ntrust: /t\ngridmap: ${file('map', '# people\n"/O=Grid/CN=Alice" alice\n"/bio/*" bio\n')}\nbans: ${file('bans', '"/O=Grid/CN=Mal*"\nca "/O=Bad/CN=CA"\n')}\nroles: ${file('roles', '"/bio/Role=admin" site-admin\n')}\nquotas: ${file('quotas', 'vo bio nodes=9\n')}\noverlay: {address: 192.0.2.1, ports: {first: 1, last: 2}, ca: /o, caKey: /p}\n`);
  const explain = async (...words: string[]): Promise<{ code: number | null; by: string; permitted: boolean }> => {
    const ran = await gridvc(['authz', 'explain', '--config', config, '--json', ...words]);
    const answer = JSON.parse(ran.stdout) as { permitted: boolean; decided: { by: string } };
    return { code: ran.code, by: answer.decided.by, permitted: answer.permitted };
  };
  const alice = ['--subject', '/O=Grid/CN=Alice'];
  const bob = ['--subject', '/O=Grid/CN=Bob'];
  const rule = new RegExp(`^${defaultRules}:\\d+$`);
  t.match(await explain(...alice, '--operation', 'createCluster'), { code: 0, permitted: true, by: rule });
  t.match(await explain(...alice, '--operation', 'createCluster', '--limited'), { code: 1, permitted: false, by: rule });
  t.match(await explain(...bob, '--operation', 'listSites'), { code: 1, by: join(home, 'map') });
  t.match(await explain(...bob, '--operation', 'setSiteState', '--fqan', '/bio/Role=admin'), { code: 0, by: rule });
  t.match(await explain(...bob, '--operation', 'plan', '--fqan', '/bio', '--issuer', '/O=Bad/CN=CA'), { code: 1, by: `${join(home, 'bans')}:2` });
  t.match(await explain(...alice, '--operation', 'registerSite'), { code: 1, by: defaultRules }, 'no rule');
  const shown = await gridvc(['authz', 'explain', '--config', config, ...bob, '--fqan', '/bio', '--operation', 'createCluster']);
  t.match(shown.stdout, /^\/O=Grid\/CN=Bob may createCluster: decided by \S+default\.rules:\d+ {2}permit/);
  t.match(shown.stdout, /map +account bio +\S+map:3 +\/bio\/\*/);
  t.match(shown.stdout, /quota +nodes 9 +\S+quotas:1 +VO bio/);
  t.match(await gridvc(['authz', 'explain', '--config', join(home, 'none'), ...bob, '--operation', 'plan']), { code: 3, stderr: /cannot be read/ });
  t.match(await gridvc(['authz', 'explain', '--config', config, ...bob, '--operation', 'fly']), { code: 2, stderr: /Allowed choices are plan/ });
  t.match(await gridvc(['authz', 'explain', '--config', config, ...bob, '--operation', 'plan', '--fqan', 'bio']), { code: 1, stderr: /is not an FQAN/ });
});

const noVoms = ['voms-proxy-fake', 'voms-proxy-init'].find((name) => spawnSync(name, ['-version']).error !== undefined);
t.test('VOMS: real attributes through mapping, roles, bans and quotas', { skip: noVoms === undefined ? false : `${noVoms} is not installed (voms-clients)` }, async (t) => {
  const at = (name: string): string => join(home, 'voms', name);
  mkdirSync(at('vomsdir/bio'), { recursive: true });
  const ca = await makeAuthority({ subject: '/O=Grid/CN=CA', days: 10, kind: 'rsa' });
  installAuthority(at('trust'), ca.certificate);
  for (const [name, subject, usage] of [['bob', '/O=Grid/CN=Bob', 'user'], ['host', '/O=Grid/CN=voms.example.org', 'host']] as const) {
    const { key, publicKey } = await makeKey('rsa');
    const { certificate } = await issueCertificate({ issuer: ca, subject, publicKey, notAfter: new Date(Date.now() + 5e8), usage });
    writeFileSync(at(`${name}.pem`), certificate);
    writeFileSync(at(`${name}.key`), key, { mode: 0o600 });
  }
  writeFileSync(at('vomsdir/bio/voms.example.org.lsc'), '/O=Grid/CN=voms.example.org\n/O=Grid/CN=CA\n');
  const credential = ['-cert', at('bob.pem'), '-key', at('bob.key')];
  const chain = (...fqans: string[]): Uint8Array[] => {
    const made = spawnSync('voms-proxy-fake', [...credential, '-certdir', at('trust'), '-hostcert', at('host.pem'), '-hostkey', at('host.key'), '-voms', 'bio', '-uri', 'voms.example.org:15000', ...fqans.flatMap((fqan) => ['-fqan', fqan]), '-rfc', '-quiet', '-out', at('proxy')], { env: { ...process.env, HOME: home, X509_CERT_DIR: at('trust') }, encoding: 'utf8' });
    t.equal(made.status, 0, made.stderr);
    return certificatesOf(readFileSync(at('proxy'), 'latin1'));
  };
  const files = { gridmap: file('voms-map', '"/bio/Role=prod" prod\n'), bans: file('voms-bans', '/bio/thieves*\n'), roles: file('voms-roles', '/bio/Role=admin site-admin\n') };
  const door = new Authenticator(TrustDirectory.open(at('trust'), log, { vomsdir: at('vomsdir') }), files, log);
  const caller = door.authenticate(chain('/bio/Role=prod', '/bio', '/bio/Role=admin'), new Date());
  t.match(caller, { subject: '/O=Grid/CN=Bob', account: 'prod', roles: ['user', 'site-admin'], vo: 'bio', issuer: '/O=Grid/CN=CA', fqans: ['/bio/Role=prod', '/bio', '/bio/Role=admin'] });
  t.ok(caller.certificateNotAfter > caller.notAfter);
  t.throws(() => door.authenticate(chain('/bio'), new Date()), { kind: 'not-authorized', message: /"\/O=Grid\/CN=Bob" with \/bio is not in the grid-mapfile/ });
  t.throws(() => door.authenticate(chain('/bio/Role=prod', '/bio/thieves'), new Date()), { kind: 'not-authorized', message: /"\/bio\/thieves" is banned here \(.*voms-bans:1\)/ });
  const blind = new Authenticator(TrustDirectory.open(at('trust'), log), files, log);
  t.throws(() => blind.authenticate(chain('/bio/Role=prod'), new Date()), { kind: 'not-authorized', message: /is not in the grid-mapfile/ }, 'without a vomsdir no FQAN counts');

  const out = at('made');
  const env = { X509_CERT_DIR: at('trust'), HOME: home };
  const init = ['proxy', 'init', '--cert', at('bob.pem'), '--key', at('bob.key'), '-o', out];
  const vomses = file('vomses', '"bio" "127.0.0.1" "9" "/O=Grid/CN=voms.example.org" "bio"\n');
  t.match(await gridvc([...init, '--voms', 'bio', '--vomses', vomses], { env }), { code: 1, stderr: /voms-proxy-init gave no attributes of bio/ }, 'no server: no proxy');
  t.notOk(existsSync(out));
  t.match(await gridvc([...init, '--voms', 'bio'], { env: { ...env, PATH: home } }), { code: 1, stderr: /voms-proxy-init is not installed.*\n.*apt-get install voms-clients/ });
  t.match(await gridvc([...init, '--vomses', vomses], { env }), { code: 1, stderr: /no --voms says/ });
});

function onlyLineErrors(work: () => unknown): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (error instanceof LineError) return true;
    throw error;
  }
}
