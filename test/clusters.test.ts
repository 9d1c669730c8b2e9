/**
 * The gatekeeper's services on a real PostgreSQL and real hubs, with heads that can be told to refuse, fail or go away
 * (what a real head answers then). Real nodes are the flow test's.
 */
import { X509Certificate } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { ClusterTasks } from '../gatekeeper/cluster/tasks.js';
import { ClusterRecords } from '../gatekeeper/cluster/records.js';
import { Roll } from '../gatekeeper/cluster/roll.js';
import type { Tools } from '../gatekeeper/cluster/job.js';
import type { Material } from '../gatekeeper/cluster/material.js';
import { Authorizer } from '../gatekeeper/authorization/authorizer.js';
import { Clusters } from '../gatekeeper/clusters.js';
import { parseGatekeeperConfig } from '../gatekeeper/config.js';
import { Delegations } from '../gatekeeper/delegations.js';
import { Hub } from '../gatekeeper/hub/hub.js';
import { Sites } from '../gatekeeper/sites.js';
import { diskUploads } from '../gatekeeper/uploads.js';
import { GridError } from '../src/domain/error.js';
import type { PartSpec } from '../src/domain/node.js';
import { canonicalName, type RawRequest } from '../src/domain/request.js';
import { defaultRequestLimits } from '../src/domain/request-check.js';
import type { Caller, ClusterView } from '../src/domain/views.js';
import { makeLog } from '../src/log.js';
import { parsePool } from '../src/overlay/addresses.js';
import { issueCertificate, issueProxy, makeAuthority, makeKey, readRequest, type Issuer } from '../src/pki/issue.js';
import { openDatabase, type Database } from '../src/store/database.js';
import { openSecrets } from '../src/store/secrets.js';
import { testPostgres } from './support/postgres.js';
import { ScriptedHead } from './support/scripted-head.js';

const sql = join(import.meta.dirname, '../../sql/gatekeeper');
const log = makeLog('test', 'silent');

t.test('the roll', async (t) => {
  const nodes = [{ name: 'n1', site: 'a' }, { name: 'n2', site: 'a' }, { name: 'n3', site: 'b' }];
  const all = new Roll(nodes, 3);
  for (const [i, name] of ['n1', 'n2', 'n3'].entries()) {
    t.ok(all.runs(name, 1000 + i));
    t.notOk(all.runs(name, 9000), 'news only once');
    all.joins(name, 2000 + i * 100);
    all.isReady(name, 2500 + i * 100);
  }
  await all.settled;
  t.same(all.measured('a').map(({ stage, seconds }) => [stage, seconds]), [['join', 1.1], ['verify', 0.5]]);
  const strict = new Roll(nodes, 3);
  strict.fails('n2', 'no memory');
  await t.rejects(strict.settled, { kind: 'unavailable', message: /^node n2 at a: no memory$/ });
  const lax = new Roll(nodes, 1);
  lax.siteFails('a', 'away');
  lax.runs('n3', 0);
  t.same(lax.overdue(61_000, 60), ['n3']);
  t.same(lax.waiting(), ['n3']);
  lax.joins('n3', 1);
  lax.isReady('n3', 2);
  await lax.settled;
  t.same([lax.ready('a'), lax.ready('b')], [[], ['n3']], 'fewer are enough');
  const two = new Roll(nodes, 2);
  two.fails('n1', 'x');
  two.siteFails('b', 'away');
  await t.rejects(two.settled, { message: /node n1 at a: x \(and 1 more.*at most 1 nodes can come up, 2 are needed/ });
});

t.test('configuration', async (t) => {
  const good = `home: /srv/gv\ncertificate: /c\nkey: /k\ntrust: /t\ngridmap: /g\noverlay: {address: 192.0.2.1, ports: {first: 1, last: 2}, ca: /o, caKey: /p}\n`;
  t.match(parseGatekeeperConfig(good, 'f'), { listen: { port: 8443 }, limits: { lifetime: 10080 }, overlay: { prefix: 20 } });
  for (const [text, message] of [[`${good}colour: red`, /f: .*colour/], [good.replace('first: 1', 'first: 3'), /first must not be after last/], [good.replace('/k', 'k'), /key: must be an absolute path/], ['{', /is not YAML/]] as const) {
    t.throws(() => parseGatekeeperConfig(text, 'f'), message);
  }
});

const skip = process.getuid?.() !== 0 ? 'needs root: hubs have network namespaces' : existsSync('/usr/lib/postgresql') ? false : 'PostgreSQL is not installed';
t.test('clusters', { skip }, async (t) => {
  const server = await testPostgres(t);
  const db: Database = await openDatabase({ url: server.url('gatekeeper'), schema: 'gatekeeper', migrations: sql, queries: join(sql, 'queries.sql') });
  const heads = { alpha: new ScriptedHead('alpha'), beta: new ScriptedHead('beta') };
  const sites = new Sites(db, ({ url }) => (url.includes('alpha') ? heads.alpha : heads.beta), log);
  const issuer = await makeAuthority({ subject: '/O=Grid/CN=Overlay', days: 30 });
  const tools: Tools = {
    db,
    records: new ClusterRecords(db),
    secrets: await openSecrets<Material>(join(server.home, 'clusters')),
    sites,
    uploads: diskUploads(server.home),
    overlay: { address: '127.0.0.1', issuer, pool: parsePool('10.128.0.0/10', 20), ports: { first: 21_960, last: 21_979 } },
    home: server.home,
    longestLease: 10_080,
    log,
  };
  const who = (name: string, more: Partial<Caller> = {}): Caller => ({ subject: `/O=Grid/CN=${name}`, account: name, roles: ['user'], issuer: '/O=Grid/CN=CA', fqans: [], vo: '', limited: false, notAfter: Date.now() + 12 * 3600_000, certificateNotAfter: Date.now() + 300 * 86_400_000, ...more });
  const alice = who('Alice');
  const admin = who('Root', { roles: ['user', 'grid-admin'] });
  const delegations = await Delegations.open(db, server.home, async (chain) => {
    const proxy = new X509Certificate(chain);
    return { subject: alice.subject, notAfter: new Date(proxy.validTo), publicKey: proxy.publicKey };
  });
  const limits = { ...defaultRequestLimits, clustersPerOwner: 6, nodesPerOwner: 20 };
  let tasks = new ClusterTasks(tools);
  let clusters = new Clusters(tools, tasks, delegations, limits);
  await tasks.start();
  t.teardown(async () => {
    await tasks.close();
    for (const { id } of await db.rows<{ id: string }>('unfinishedClusters')) await Hub.remove(id, server.home);
    await db.close();
  });
  const until = async (id: string, state: ClusterView['state']): Promise<ClusterView> => {
    for (let i = 0; i < 400; i++) {
      const view = await clusters.getCluster(admin, id);
      if (view.state === state) return view;
      await sleep(25);
    }
    throw new Error(`${id} is not ${state} but ${JSON.stringify(await clusters.getCluster(admin, id))}`);
  };
  /** What a cluster holds on this machine and in rows. */
  const holds = async (id: string): Promise<string[]> => [
    ...readdirSync(join(server.home, 'clusters')).filter((name) => name.startsWith(id)),
    ...(existsSync(join(server.home, 'hubs')) ? readdirSync(join(server.home, 'hubs')).filter((name) => name === id) : []),
    ...execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }).split('\n').filter((line) => line.includes(id)),
    ...((await db.row('allocation', id)) === undefined ? [] : ['allocation']),
    ...(await db.rows<{ revoked: boolean }>('certificates', id)).filter((row) => !row.revoked).map(() => 'certificate'),
  ];

  await t.test('sites', async (t) => {
    const alpha = { name: 'alpha', url: 'https://alpha:1', subject: '/O=Grid/CN=alpha' };
    await t.rejects(sites.registerSite(alice, alpha), { kind: 'not-authorized', message: /./ });
    await t.rejects(sites.registerSite(admin, { ...alpha, name: 'gamma' }), { kind: 'conflict', message: /serves site alpha, not gamma/ });
    await t.rejects(sites.registerSite(admin, { ...alpha, url: 'http://alpha' }), { kind: 'bad-request', message: /./ });
    t.match(await sites.registerSite(admin, alpha), { name: 'alpha', state: 'open', alive: true, freeNodes: 12 });
    await sites.registerSite(admin, { name: 'beta', url: 'https://beta:1', subject: '/O=Grid/CN=beta' });
    heads.beta.mood = 'away';
    t.match(await sites.listSites(alice), [{ name: 'alpha', alive: true }, { name: 'beta', alive: false }]);
    heads.beta.mood = 'works';
  });

  await t.test('created once', async (t) => {
    const began = Date.now();
    const [one, two] = await Promise.all([clusters.createCluster(alice, 'k1', ask({ count: '2' })), clusters.createCluster(alice, 'k1', ask({ count: '2' }))]);
    t.comment(`createCluster twice: ${Date.now() - began} ms`);
    t.equal(one.id, two.id, 'one key, one cluster, also at the same moment');
    await t.rejects(clusters.createCluster(alice, 'k1', ask({ count: '3' })), { kind: 'conflict', message: new RegExp(one.id) });
    t.not((await clusters.createCluster(who('Bob'), 'k1', ask({ count: '1' }))).id, one.id, 'keys belong to their owner');
    const unknown = await clusters.getCluster(alice, 'zzzzzzzz').catch((error: Error) => error.message);
    const bob = who('Bob');
    const calls: readonly (() => Promise<unknown>)[] = [
      () => clusters.getCluster(bob, one.id),
      () => clusters.destroyCluster(bob, one.id),
      () => clusters.awaitEvents(bob, one.id, 0, 0),
      () => clusters.getAccess(bob, one.id),
      () => clusters.dial(bob, one.id, 'n1'),
      () => clusters.extendLifetime(bob, one.id, 5),
    ];
    for (const call of calls) {
      t.equal(await call().catch((error: Error) => error.message.replace(one.id, 'zzzzzzzz')), unknown, "another's answers as none");
    }
    t.equal((await clusters.getCluster(admin, one.id)).id, one.id, 'a grid-admin sees it');
    await until(one.id, 'launching');
    const spec = [...heads.alpha.specs.values()].flat().find((each) => each.cluster === one.id) as PartSpec;
    t.same(spec.nodes.map((node) => node.name), ['n1', 'n2']);
    t.match(new X509Certificate(spec.nodes[0]?.certificate ?? '').subject, new RegExp(`O=Grid\nCN=Alice\nCN=${one.id}\nCN=n1\\.${one.id}`));
    t.match(spec.hosts, new RegExp(`10\\.\\d+\\.\\d+\\.10 n1\\.${one.id}\\.gridvc n1\n`));
    const then = new Date();
    t.match(await db.row('whoUsedAddress', spec.nodes[1]?.overlayAddress, then), { owner: alice.subject, cluster: one.id, name: 'n2', site: 'alpha', host: 'h' }, 'who used this address now');
    await t.rejects(clusters.getAccess(alice, one.id), { kind: 'wrong-state', message: /is launching/ });
    t.equal((await clusters.destroyCluster(alice, one.id)).state, 'destroying');
    await until(one.id, 'destroyed');
    t.same(await holds(one.id), []);
    t.equal((await db.row<{ name: string }>('whoUsedAddress', spec.nodes[1]?.overlayAddress, new Date())), undefined);
    t.match(await db.row('whoUsedAddress', spec.nodes[1]?.overlayAddress, then), { name: 'n2' }, 'history stays');
    t.equal((await clusters.createCluster(alice, 'k1', ask({ count: '2' }))).state, 'destroyed', 'the key stays taken');
  });

  await t.test('refused at once', async (t) => {
    for (const [caller, words, wanted] of [
      [who('L', { limited: true }), {}, { kind: 'not-authorized', message: /limited proxy/ }],
      [who('S', { roles: ['site-admin'], account: '' }), {}, { kind: 'not-authorized', message: /no account/ }],
      [alice, { sites: 'gamma' }, { kind: 'bad-request', message: /gamma/, hint: /alpha, beta/ }],
      [alice, { count: '21' }, { kind: 'quota', message: /asked 21 nodes more.*allowed are 20/ }],
      [alice, { count: '0' }, { kind: 'bad-request', message: /count/ }],
      [alice, { packages: 'octve' }, { kind: 'bad-request', message: /octve/ }],
      [alice, { memory: '9000' }, { kind: 'no-capacity', message: /asked: 1 nodes of 9000 MiB.*Free: alpha: 0 such nodes on 1 host \(at most 4000 MiB/ }],
      [alice, { colour: 'red' }, { kind: 'bad-request', message: /colour/ }],
    ] as const) await t.rejects(clusters.createCluster(caller, 'r', ask({ count: '1', ...words })), wanted as object as { message: RegExp });
    await t.rejects(clusters.createCluster(alice, 'a key', ask({ count: '1' })), { kind: 'bad-request', message: /./ });
    await t.rejects(clusters.plan(alice, ask({ count: '100' })), { kind: 'no-capacity', message: /asked: 100.*alpha: 12 such nodes.*beta: 12/ });
    t.match(await clusters.plan(alice, ask({ count: '4', placement: 'spread' })), { predictedSeconds: 2, sites: [{ site: 'alpha', nodes: 2 }, { site: 'beta', nodes: 2 }] });
  });

  await t.test('a head that refuses, a part that fails, no room', async (t) => {
    heads.alpha.mood = 'refuses';
    const refused = await until((await clusters.createCluster(alice, 'f1', ask({ count: '1', sites: 'alpha' }))).id, 'failed');
    t.match(refused.reason, /site alpha: asked too much \(free: 0\)/);
    heads.alpha.mood = 'fails';
    const failed = await until((await clusters.createCluster(alice, 'f2', ask({ count: '2', sites: 'alpha' }))).id, 'failed');
    t.match(failed.reason, /site alpha: package x does not install/);
    heads.alpha.mood = 'works';
    await sleep(50);
    for (const { id } of [refused, failed]) t.same(await holds(id), [], 'nothing is left');
    t.equal((await clusters.destroyCluster(alice, failed.id)).state, 'destroying');
    await until(failed.id, 'destroyed');
  });

  await t.test('sites that are away', async (t) => {
    heads.beta.mood = 'away';
    const left = await clusters.createCluster(alice, 'w1', ask({ count: '2' }));
    t.match((await until(left.id, 'launching')).warnings, [/does not answer: beta/]);
    await t.rejects(clusters.createCluster(alice, 'w2', ask({ count: '1', sites: 'beta' })), { kind: 'unavailable', message: /site beta does not answer/ });
    const later = await until((await clusters.createCluster(alice, 'w3', ask({ count: '13' }))).id, 'failed');
    t.match(later.reason, /asked: 13 nodes.*alpha: 12 such nodes.*beta: does not answer/, 'a silent site gets a second chance, in the background');
    heads.beta.mood = 'works';
    heads.alpha.mood = 'away';
    await clusters.destroyCluster(alice, left.id);
    for (let i = 0; i < 100 && (await clusters.awaitEvents(alice, left.id, 0, 0)).at(-1)?.kind !== 'warning'; i++) await sleep(20);
    t.equal((await clusters.getCluster(alice, left.id)).state, 'destroying');
    t.ok((await holds(left.id)).includes('allocation'), 'its addresses are not given to others while its nodes may live');
    await t.rejects(sites.unregisterSite(admin, 'alpha'), { kind: 'wrong-state', message: new RegExp(left.id) });
    const told = await clusters.awaitEvents(alice, left.id, 0, 0); // the relay may tell of the same silence before or after
      t.ok(told.some(({ kind, text }) => kind === 'warning' && /site alpha still has its part.*trying again in \d+ s/.test(text)));
    heads.alpha.mood = 'works';
    await until(left.id, 'destroyed');
    t.same(await holds(left.id), []);
  });

  await t.test('another gatekeeper goes on', async (t) => {
    const made = await clusters.createCluster(alice, 'g1', ask({ count: '2', sites: 'alpha' }));
    await until(made.id, 'launching');
    await tasks.close();
    t.ok((await holds(made.id)).length > 0, 'closing lets everything run');
    tasks = new ClusterTasks(tools);
    clusters = new Clusters(tools, tasks, delegations, limits);
    await tasks.start();
    await until(made.id, 'launching');
    for (let i = 0; i < 100 && heads.alpha.specs.get(made.id)?.length !== 2; i++) await sleep(20);
    const [first, second] = heads.alpha.specs.get(made.id) ?? [];
    t.same(second, first, 'it asks for the same part, with the same keys');
    await tasks.close();
    await tools.secrets.remove(made.id);
    tasks = new ClusterTasks(tools);
    clusters = new Clusters(tools, tasks, delegations, limits);
    await tasks.start();
    t.match((await until(made.id, 'failed')).reason, /internal error|keys of cluster/, 'without its keys it is undone');
    await sleep(50);
    t.same(await holds(made.id), []);
  });

  await t.test('leases and delegations', async (t) => {
    const short = who('Alice', { notAfter: Date.now() + 600_000 });
    const cut = await clusters.createCluster(short, 'l1', ask({ count: '1', maxwalltime: '60' }));
    t.match(cut, { warnings: [/your proxy ends before the lease/], expires: new Date(short.notAfter).toISOString() });
    const authority = await makeAuthority({ subject: '/O=Grid/CN=CA', days: 30 });
    const longer = new Date(Date.now() + 5 * 3600_000);
    const user = await userOf(authority, alice.subject);
    const { id, request } = await delegations.requestDelegation(alice);
    const { publicKey } = await readRequest(request);
    const { chain } = await issueProxy({ issuer: user, publicKey, notAfter: longer });
    const strange = await issueProxy({ issuer: user, notAfter: longer });
    await t.rejects(delegations.putDelegation(alice, id, strange.chain), { kind: 'bad-request', message: /not for the key/ });
    await t.rejects(delegations.putDelegation(who('Bob'), id, chain), { kind: 'not-found', message: /./ });
    await delegations.putDelegation(alice, id, chain);
    const long = await clusters.createCluster(short, 'l2', ask({ count: '1', maxwalltime: '120' }));
    t.same(long.warnings, [], 'a delegated proxy lasts for a longer lease');
    await until(cut.id, 'launching');
    await db.rows('setLease', cut.id, new Date(), new Date(), new Date());
    await until(cut.id, 'destroyed');
    t.match((await clusters.awaitEvents(alice, cut.id, 0, 0)).map((event) => event.text), /the lease has ended/);
    const news = clusters.awaitEvents(alice, long.id, 1000, 5);
    await clusters.destroyCluster(alice, long.id);
    t.same(await clusters.awaitEvents(alice, long.id, 1000, 0), []);
    await until(long.id, 'destroyed');
    void news.catch(() => {});
  });

  await t.test('quotas of an owner and of a VO, also at the same moment', async (t) => {
    const quotas = join(server.home, 'quotas');
    writeFileSync(quotas, 'user "/O=Grid/CN=Carol" clusters=2 memory=1000\nvo bio nodes=3\n');
    const strict = new Clusters(tools, tasks, delegations, limits, new Authorizer({ quotas }, log));
    const made: string[] = [];
    const create = async (caller: Caller, words: Readonly<Record<string, string>>): Promise<string> => {
      const outcome = await strict.createCluster(caller, `q${made.length}-${Math.random()}`, ask({ sites: 'alpha', ...words })).catch((error: GridError) => error);
      if (outcome instanceof GridError) return `${outcome.kind}: ${outcome.message}`;
      made.push(outcome.id);
      return 'made';
    };
    const carol = who('Carol');
    t.match(await create(carol, { count: '4' }), /^quota: asked 1280 MiB of memory more; used are 0, allowed are 1000 \(quota of .*Carol: .*quotas:1\)/);
    const six = await Promise.all(Array.from({ length: 6 }, () => create(carol, { count: '1' })));
    t.equal(six.filter((each) => each === 'made').length, 2, 'six at once, two are allowed');
    t.match(six.find((each) => each !== 'made'), /^quota: asked 1 cluster more; used are 2, allowed are 2/);
    const member = (name: string): Caller => who(name, { fqans: ['/bio/Role=x', '/chem'], vo: 'bio' });
    t.equal(await create(member('Dan'), { count: '2' }), 'made');
    t.match(await create(member('Eve'), { count: '2' }), /^quota: asked 2 nodes more; used are 2, allowed are 3 \(quota of VO bio: .*:2\)/);
    t.equal(await create(who('Eve'), { count: '2' }), 'made', 'without the VO');
    for (const id of made) await clusters.destroyCluster(admin, id);
    for (const id of made) await until(id, 'destroyed');
    t.equal(await create(member('Eve'), { count: '3' }), 'made', 'what is destroyed counts no more');
    await clusters.destroyCluster(admin, made.at(-1) ?? '');
    await until(made.at(-1) ?? '', 'destroyed');
  });

  await t.test('a rule can take away what the default gives', async (t) => {
    const rules = join(server.home, 'rules');
    writeFileSync(rules, 'deny destroyCluster,openTunnel dn="/O=Grid/CN=Alice"\npermit anyOwner vo=ops\npermit *\n');
    const strict = new Clusters(tools, tasks, delegations, limits, new Authorizer({ rules }, log));
    const { id } = await strict.createCluster(who('Frank'), 'r1', ask({ count: '1', sites: 'alpha' }));
    await t.rejects(strict.destroyCluster(alice, 'zzzzzzzz'), { kind: 'not-authorized', message: /may not destroyCluster: a rule of this grid denies it \(.*rules:1\)/ }, 'the same for what is there and what is not');
    await t.rejects(strict.dial(alice, id, 'n1'), { kind: 'not-authorized', message: /openTunnel/ });
    t.equal((await strict.getCluster(who('Op', { fqans: ['/ops'], vo: 'ops' }), id)).id, id);
    await strict.destroyCluster(who('Frank'), id);
    await until(id, 'destroyed');
  });

  await t.test('delegations: least life, renewal, dropped when nobody needs them', async (t) => {
    const gina = who('Gina', { notAfter: Date.now() + 1200_000 });
    const authority = await makeAuthority({ subject: '/O=Grid/CN=CA', days: 30 });
    const user = await userOf(authority, gina.subject);
    let lengthened = 0;
    const kept = await Delegations.open(db, server.home, async (chain) => {
      const proxy = new X509Certificate(chain);
      return { subject: gina.subject, notAfter: new Date(proxy.validTo), publicKey: proxy.publicKey };
    }, { renewed: async () => { lengthened++; await clusters.followDelegations(); } });
    const put = async (seconds: number): Promise<string> => {
      const { id, request } = await kept.requestDelegation(gina);
      const { chain } = await issueProxy({ issuer: user, publicKey: (await readRequest(request)).publicKey, notAfter: new Date(Date.now() + seconds * 1000) });
      await kept.putDelegation(gina, id, chain);
      return id;
    };
    const files = (): string[] => readdirSync(join(server.home, 'delegations')).sort();
    const before = files();
    await t.rejects(put(100), { kind: 'bad-request', message: /the delegated proxy ends in \d+ s \(2.*\); it must last at least 300 s/ });
    await t.rejects(clusters.createCluster({ ...gina, notAfter: Date.now() + 250_000 }, 'd0', ask({ count: '1', sites: 'alpha' })), { kind: 'not-authorized', message: /ends in 2\d\d s.*at least 302 s are needed: 2 s to build the cluster, as estimated, and a margin of 300 s/ });
    const cut = await clusters.createCluster(gina, 'd1', ask({ count: '1', maxwalltime: '60', sites: 'alpha' }));
    t.match(cut, { warnings: [/your proxy ends before the lease/], expires: new Date(gina.notAfter).toISOString() });
    await until(cut.id, 'launching');
    await tools.records.advance(cut.id, 'ready'); // as if its nodes had come
    const id = await put(2400);
    t.equal(lengthened, 1);
    t.same(files().filter((name) => name.startsWith(id)), [`${id}.key`, `${id}.pem`]);
    for (const name of files()) t.equal(statSync(join(server.home, 'delegations', name)).mode & 0o777, 0o600);
    const longer = await clusters.getCluster(gina, cut.id);
    t.ok(Math.abs(Date.parse(longer.expires) - Date.now() - 2400_000) < 5000, 'the lease follows the delegation');
    await put(7200);
    const whole = await clusters.getCluster(gina, cut.id);
    t.equal(Date.parse(whole.expires), Date.parse(cut.created) + 3600_000, 'and ends as it was asked');
    t.same(whole.warnings, []);
    t.match((await clusters.awaitEvents(gina, cut.id, 0, 0)).map((event) => event.text).join('\n'), /a newer delegation lasts longer: the lease ends/);
    await kept.sweep();
    const newest = files().filter((name) => !before.includes(name) && name.endsWith('.pem'));
    t.equal(newest.length, 1, 'the newest is kept while a cluster lives; the one before is gone');
    await clusters.destroyCluster(gina, cut.id);
    await until(cut.id, 'destroyed');
    await kept.sweep();
    t.same(files().filter((name) => newest.includes(name)), [], 'dropped with the last cluster');
    const early = await put(7200);
    await kept.sweep();
    t.ok(files().includes(`${early}.pem`), 'one that waits for its first cluster is kept');
  });
});

function ask(words: Readonly<Record<string, string>>): RawRequest {
  return { attributes: new Map(Object.entries(words).map(([name, value]) => [canonicalName(name), [value]])), files: [] };
}

async function userOf(authority: Issuer, subject: string): Promise<Issuer> {
  const { key, publicKey } = await makeKey('ec');
  const { certificate } = await issueCertificate({ issuer: authority, subject, publicKey, notAfter: new Date(Date.now() + 86_400_000), usage: 'user' });
  return { certificate, key };
}
