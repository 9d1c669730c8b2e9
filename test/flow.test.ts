/**
 * The main job on a real grid of two sites on this machine: from a signed request to an MPI program on
 * nodes of both, and back to nothing. Real apt, dpkg, runc, OpenVPN, ssh, PostgreSQL, TLS.
 */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { spawn, spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import t from 'tap';
import { gridLayout } from '../src/cli/grid/layout.js';
import type { GridError } from '../src/domain/error.js';
import type { ClusterView } from '../src/domain/views.js';
import { issueCertificate, makeAuthority, makeKey, type Issuer } from '../src/pki/issue.js';
import { ClusterClient } from '../src/soap/client.js';
import { connectTo } from './bench/connection.js';
import { holdings, leaked } from './support/leaks.js';
import { gridvc, prepareHome, root, testHome, whyNoGrid } from './support/grid.js';

const why = whyNoGrid();
if (why !== undefined) t.test('the main job', { skip: why }, async () => {});
else {
  const pids = join(testHome, 'grid', 'run');
  const scratch = mkdtempSync(join(tmpdir(), 'gridvc-flow-'));
  const machine = holdings();
  prepareHome();
  t.setTimeout(1_500_000);

  t.before(async () => {
    const up = await gridvc(['grid', 'up']);
    if (up.code !== 0) throw new Error(`grid up failed: ${up.stderr}`);
    const proxy = await gridvc(['proxy', 'init']);
    if (proxy.code !== 0) throw new Error(`proxy init failed: ${proxy.stderr}`);
    // a plan waits for the base images that new sites are making: no test may see them half made
    const plan = await gridvc(['plan', '--count', '2', '--placement', 'spread'], { seconds: 400 });
    if (plan.code !== 0) throw new Error(`plan failed: ${plan.stderr}`);
  });
  t.teardown(async () => {
    await gridvc(['grid', 'down']);
    rmSync(scratch, { recursive: true, force: true });
  });

  const json = <T>(ran: { stdout: string; stderr: string; code: number | null }): T => {
    if (ran.code !== 0) throw new Error(`exit ${ran.code}: ${ran.stderr}`);
    return JSON.parse(ran.stdout) as T;
  };
  const create = async (words: readonly string[]): Promise<ClusterView> => json(await gridvc(['create', '--wait', '--json', ...words], { seconds: 600 }));
  const show = async (id: string): Promise<ClusterView> => json(await gridvc(['show', id, '--json']));
  const destroy = async (id: string): Promise<void> => {
    const ran = await gridvc(['destroy', '--wait', id]);
    if (ran.code !== 0) throw new Error(`destroy: ${ran.stderr}`);
  };
  const inNode = (cluster: ClusterView, node: string, words: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> => gridvc(['exec', cluster.id, '--node', node, '--', ...words]);

  const sites = ['alpha', 'beta'].map((site) => join(testHome, 'grid', `head-${site}`));
  /** Where what belongs to one cluster may lie; images and the database stay. */
  const places = [...['hubs', 'clusters'].map((place) => join(testHome, 'grid', 'gatekeeper', 'state', place)), ...sites.flatMap((site) => [join(site, 'state', 'parts'), join(site, 'state', 'staging'), join(site, 'host1', 'nodes')])];
  /** Rows that say that something is held: none after a destroy. */
  const heldRows = async (): Promise<string[]> => {
    const queries = {
      gatekeeper: ["select 'allocation ' || cluster as held from allocations where released is null", "select 'node ' || cluster || name from nodes where state <> 'gone'", "select 'certificate ' || name from certificates where revoked is null and not_after > now()"],
      head_alpha: ["select 'node ' || cluster || name as held from nodes where state <> 'gone'", "select 'part ' || cluster from requests where state not in ('destroyed', 'failed')"],
    };
    const found: string[] = [];
    for (const [database, texts] of Object.entries({ ...queries, head_beta: queries.head_alpha })) {
      const client = new pg.Client({ host: join(testHome, 'grid', 'postgres', 'run'), user: 'gridvc', database, options: `-c search_path=${database === 'gatekeeper' ? 'gatekeeper' : 'head'}` });
      await client.connect();
      for (const text of texts) found.push(...(await client.query({ text, rowMode: 'array' })).rows.map((row: unknown[]) => `${database}: ${String(row[0])}`));
      await client.end();
    }
    return found;
  };

  t.test('four nodes over two sites, an MPI program on all of them, and nothing left', async (t) => {
    const before = holdings(places);
    t.same(await heldRows(), [], 'no row says that something is held');
    const cluster = await create([join(root, 'examples', 'mpi.rsl')]);
    t.equal(cluster.state, 'ready');
    t.same(cluster.nodes.map((node) => node.state), ['ready', 'ready', 'ready', 'ready']);
    t.same([...new Set(cluster.nodes.map((node) => node.site))].sort(), ['alpha', 'beta'], 'both sites');
    t.ok(cluster.predictedSeconds > 0 && (cluster.measuredSeconds ?? 0) > 0, `predicted ${cluster.predictedSeconds} s, measured ${cluster.measuredSeconds} s`);
    const launch = cluster.stages.find((stage) => stage.stage === 'launch');
    t.ok(launch?.predicted !== undefined && launch.elapsed !== undefined && launch.done, 'each stage has both');

    await t.test('mpirun needs no option and reaches every node', async (t) => {
      const source = readFileSync(join(root, 'examples', 'hello-mpi.c'), 'utf8');
      const compiled = await gridvc(['exec', cluster.id, '--node', 'n1', 'cat > hello.c && mpicc -o hello hello.c && for n in n2 n3 n4; do scp -q hello $n:; done'], { input: source });
      t.equal(compiled.code, 0, compiled.stderr);
      const ran = await inNode(cluster, 'n1', ['mpirun', './hello']);
      t.equal(ran.code, 0, ran.stderr);
      for (const node of cluster.nodes) t.match(ran.stdout, new RegExp(`\\b${node.name}\\b`), `${node.name} answered`);
    });

    await t.test('sites are separate networks: only the overlay joins them', async (t) => {
      const [alpha, beta] = ['alpha', 'beta'].map((site) => cluster.nodes.find((node) => node.site === site));
      if (!alpha || !beta) return t.fail('nodes missing');
      const address = /192\.168\.\d+\.\d+/.exec((await inNode(cluster, beta.name, ['ip', '-4', '-o', 'addr', 'show', 'eth0'])).stdout)?.[0] ?? '';
      t.not(address, '', `a private address, ${address}`);
      const inner = await inNode(cluster, alpha.name, ['ping', '-c1', '-W1', '-I', 'eth0', address]);
      const own = (await inNode(cluster, alpha.name, ['hostname', '-I'])).stdout;
      t.ok(inner.code !== 0 || own.includes(address), 'beside the overlay it is unreachable');
      t.equal((await inNode(cluster, alpha.name, ['ping', '-c1', '-W2', beta.overlayAddress])).code, 0, 'over the overlay it answers');
    });

    await t.test('limits of a node are real', async (t) => {
      const group = `gridvc/${cluster.id}-n1`;
      const limits = [`/sys/fs/cgroup/memory/${group}/memory.limit_in_bytes`, `/sys/fs/cgroup/${group}/memory.max`].filter((file) => existsSync(file));
      t.match(readFileSync(limits[0] ?? '', 'utf8'), /^335544320$/m, '320 MiB');
      const disk = await inNode(cluster, 'n1', ['df', '-BM', '--output=size', '/']);
      const mib = Number(/(\d+)M\s*$/.exec(disk.stdout)?.[1]);
      t.ok(mib > 1200 && mib <= 1600, `disk ${mib} MiB`);
    });

    await t.test('any openvpn client joins with the profile, until the cluster is gone', async (t) => {
      const profile = join(scratch, 'laptop.ovpn');
      t.equal((await gridvc(['vpn', cluster.id, '--out', profile])).code, 0);
      t.ok(await joins(profile, cluster.nodes[0]?.overlayAddress ?? ''), 'joined and reached n1');
    });

    await destroy(cluster.id);
    t.equal((await show(cluster.id)).state, 'destroyed');
    t.same(await leaked(before, places), [], 'processes, mounts, namespaces, links, routes, cgroups, loops, files are as before');
    t.same(await heldRows(), [], 'rows, too');
    t.notOk(await joins(join(scratch, 'laptop.ovpn'), ''), 'the profile is worth nothing now');
  });

  t.test('clusters cannot see each other, and the second of a kind comes from the cache', async (t) => {
    const words = ['--count', '1', '--package', 'hello', '--site', 'alpha'];
    const [one, two] = await Promise.all([create(words), create(words)]);
    const first = one.nodes[0]?.overlayAddress ?? '';
    t.not((await inNode(two, 'n1', ['ping', '-c1', '-W1', first])).code, 0, 'over the overlay');
    const privately = /(192\.168\.\d+\.\d+)/.exec((await inNode(one, 'n1', ['hostname', '-I'])).stdout)?.[1] ?? '?';
    t.not((await inNode(two, 'n1', ['ping', '-c1', '-W1', privately])).code, 0, 'beside it');
    t.notOk(two.stages.some((stage) => stage.stage === 'install' && stage.predicted !== undefined) && one.stages.some((stage) => stage.stage === 'install' && stage.predicted === undefined), 'built once');
    const third = await create(words);
    t.notOk(third.stages.some((stage) => stage.stage === 'install'), 'nothing installed for the third');
    t.match((await inNode(third, 'n1', ['hello'])).stdout, /Hello, world!/);
    await Promise.all([one, two, third].map(({ id }) => destroy(id)));
  });

  t.test('bad requests: each refused with a clear fault, nothing left behind', async (t) => {
    const before = holdings();
    const known = (json<readonly ClusterView[]>(await gridvc(['list', '--json']))).length;
    const refused: readonly [string, string, RegExp][] = [
      ['malformed RSL', '&(count=2', /RSL|line|expected/i],
      ['unknown attribute', '&(count=2)(colour=red)', /colour/],
      ['count 0', '&(count=0)', /count.*1/],
      ['count 10^9', '&(count=1000000000)', /count.*\d+/],
      ['unknown package', '&(count=1)(packages=octve)', /octve[^]*octave/],
      ['conflicting packages', '&(count=1)(packages=exim4-daemon-light postfix)', /postfix|exim4/],
      ['no site large enough', '&(count=2)(memory=500000)', /500000[^]*free/],
      ['unknown bundle', '&(count=1)(bundles=mpj)', /mpj[^]*mpi/],
      ['unknown site', '&(count=1)(sites=gamma)', /gamma/],
    ];
    for (const [what, rsl, message] of refused) {
      const ran = await gridvc(['create', '--wait', '-'], { input: rsl });
      t.equal(ran.code === 0, false, `${what}: refused`);
      t.match(ran.stderr, message, `${what}: the message says what`);
    }
    const left = json<readonly ClusterView[]>(await gridvc(['list', '--json'])).slice(known).filter((cluster) => cluster.state !== 'failed' && cluster.state !== 'destroyed');
    t.same(left, [], 'no cluster is left alive');
    t.same(await leaked(before), []);
  });

  t.test('kill -9 of a head in the middle of a launch: it resumes', async (t) => {
    const before = holdings();
    const created = json<ClusterView>(await gridvc(['create', '--json', '--count', '2', '--package', 'hello', '--site', 'alpha']));
    process.kill(Number(readFileSync(join(pids, 'head-alpha.pid'), 'utf8')), 'SIGKILL');
    t.equal((await gridvc(['grid', 'up'])).code, 0, 'grid up brings the head back');
    const watched = await gridvc(['watch', created.id]);
    t.equal(watched.code, 0, watched.stderr);
    t.equal((await show(created.id)).state, 'ready');
    await destroy(created.id);
    t.same(await leaked(before), []);
  });

  t.test('kill -9 of the gatekeeper: the cluster lives on, the hub is adopted', async (t) => {
    const cluster = await create(['--count', '1', '--site', 'beta']);
    process.kill(Number(readFileSync(join(pids, 'gatekeeper.pid'), 'utf8')), 'SIGKILL');
    t.equal((await gridvc(['grid', 'up'])).code, 0);
    t.equal((await show(cluster.id)).state, 'ready');
    t.match((await inNode(cluster, 'n1', ['hostname'])).stdout, /n1/, 'still reachable');
    await destroy(cluster.id);
  });

  t.test('Ctrl-C while waiting destroys what was made', async (t) => {
    const before = holdings();
    const ran = await gridvc(['create', '--wait', '--count', '1', '--package', 'cowsay'], { interruptAt: /accepted/ });
    t.equal(ran.code, 130, ran.stderr.slice(-300));
    t.same(await leaked(before, [], 20), []);
  });

  t.test('the same key is the same cluster; with another request it is a conflict', async (t) => {
    const client = await connectTo(testHome);
    t.teardown(() => client.close());
    const key = `key-${Date.now()}`; // the grid's database is kept between runs
    const [one, two] = await Promise.all([1, 2].map(() => client.createCluster(key, { count: 1, site: ['alpha'] })));
    t.equal(one?.id, two?.id);
    await t.rejects(client.createCluster(key, { count: 2, site: ['alpha'] }), { kind: 'conflict', message: /key-\d+.*another request/ });
    await destroy(one?.id ?? '');
  });

  t.test('who may: foreign, expired, banned and unmapped certificates, and the cluster of another', async (t) => {
    const cluster = await create(['--count', '1', '--site', 'alpha']);
    const layout = gridLayout(testHome, ['alpha', 'beta']);
    const issuer = { certificate: readFileSync(layout.authority.certificate, 'utf8'), key: readFileSync(layout.authority.key, 'utf8') };
    const foreign = await makeAuthority({ subject: '/O=Grid/OU=gridvc/CN=gridvc CA', days: 1 });
    const ca = [issuer.certificate];
    const as = async (name: string, from: Issuer, minutes: number): Promise<ClusterClient> => {
      const { key, publicKey } = await makeKey('ec');
      const { certificate } = await issueCertificate({ issuer: from, subject: `/O=Grid/OU=gridvc/CN=${name}`, publicKey, notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + minutes * 60_000), usage: 'user' });
      const client = new ClusterClient({ url: layout.gatekeeper.url, tls: { ca, cert: certificate, key } });
      t.teardown(() => client.close());
      return client;
    };
    appendFileSync(layout.gridmap, '"/O=Grid/OU=gridvc/CN=Bob" bob\n"/O=Grid/OU=gridvc/CN=Mallory" mallory\n');
    appendFileSync(layout.bans, '"/O=Grid/OU=gridvc/CN=Mallory"\n');
    await new Promise((wake) => setTimeout(wake, 1500)); // map and bans are looked at once a second

    const bob = await as('Bob', issuer, 60);
    t.same(await bob.listClusters(), [], 'Bob is known and has nothing');
    const answers = await Promise.all([cluster.id, 'zzzzzzz9'].map((id) => bob.getCluster(id).catch((error: GridError) => `${error.kind}: ${error.message.replace(id, 'ID')}`)));
    t.equal(answers[0], answers[1], `another's cluster answers as none: ${String(answers[0])}`);
    const calls: readonly Promise<unknown>[] = [bob.destroyCluster(cluster.id), bob.getAccess(cluster.id), bob.extendLifetime(cluster.id, 5), bob.awaitEvents(cluster.id, 0, 0)];
    await Promise.all(calls.map((call) => t.rejects(call, { kind: 'not-found', message: /no cluster/ })));
    await t.rejects(bob.setSiteState('alpha', 'closed'), { kind: 'not-authorized', message: /CN=Bob/ });
    await t.rejects((await as('Bob', foreign, 60)).listClusters(), { kind: 'not-authenticated', message: /CN=Bob/ });
    await t.rejects((await as('Bob', issuer, -5)).listClusters(), { kind: 'not-authenticated', message: /CN=Bob.*(expired|ended)/ });
    await t.rejects((await as('Mallory', issuer, 60)).listClusters(), { kind: 'not-authorized', message: /Mallory.*ban/ });
    await t.rejects((await as('Nobody', issuer, 60)).listClusters(), { kind: 'not-authorized', message: /CN=Nobody/ });
    await destroy(cluster.id);
  });

  t.test('a site that does not answer is said so, and the other one serves', async (t) => {
    const pid = Number(readFileSync(join(pids, 'head-beta.pid'), 'utf8'));
    process.kill(pid, 'SIGSTOP');
    t.teardown(() => process.kill(pid, 'SIGCONT'));
    const named = await gridvc(['create', '--count', '1', '--site', 'beta', '--wait']);
    t.not(named.code, 0);
    t.match(named.stderr + named.stdout, /beta does not answer|site beta/);
    const cluster = await create(['--count', '1']);
    t.same(cluster.nodes.map((node) => node.site), ['alpha']);
    process.kill(pid, 'SIGCONT');
    await destroy(cluster.id);
  });

  t.test('files: a small one in the request, a large one uploaded before', async (t) => {
    writeFileSync(join(scratch, 'small'), 'small file\n');
    writeFileSync(join(scratch, 'large'), Buffer.alloc(3_000_000, 7));
    const put = json<{ id: string }>(await gridvc(['put', join(scratch, 'large'), '--json']));
    const cluster = await create(['--count', '2', '--file', `${join(scratch, 'small')}:/home/grid/small`, '--file', `${put.id}:/srv/large`]);
    const seen = await gridvc(['exec', cluster.id, '--', 'sh', '-c', 'cat small; stat -c %s /srv/large; id -un']);
    t.equal(seen.stdout.match(/small file/g)?.length, 2, seen.stdout + seen.stderr);
    t.equal(seen.stdout.match(/3000000/g)?.length, 2);
    await destroy(cluster.id);
  });

  t.test('grid down leaves nothing', async (t) => {
    t.equal((await gridvc(['grid', 'down'])).code, 0);
    t.same(await leaked(machine), []);
  });

  t.test('Ctrl-C in the demo, at any time, cleans up', async (t) => {
    for (const step of [/bringing up/, /asking for the plan/, /creating the cluster/, /mpirun/]) {
      const ran = await gridvc(['demo'], { interruptAt: step });
      t.equal(ran.code, 130, `at "${step.source}": ${ran.stderr.slice(-300)}`);
      t.same(await leaked(machine), [], `at "${step.source}" nothing is left`);
    }
  });

  /** True if a real openvpn client with this profile, in a namespace of its own, gets to the overlay address (or, without one, connects at all) within 6 s. */
  async function joins(profile: string, address: string): Promise<boolean> {
    const run = (...argv: string[]): number | null => spawnSync(argv[0] ?? '', argv.slice(1), { stdio: 'ignore' }).status;
    run('ip', 'netns', 'add', 'gvtest');
    run('ip', 'link', 'add', 'gvtest0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', 'gvtest');
    run('ip', 'link', 'set', 'gvtest0', 'master', 'gridvc-wan', 'up');
    run('ip', '-n', 'gvtest', 'addr', 'add', '198.18.0.99/24', 'dev', 'eth0');
    run('ip', '-n', 'gvtest', 'link', 'set', 'eth0', 'up');
    const client = spawn('ip', ['netns', 'exec', 'gvtest', 'openvpn', '--config', profile], { stdio: ['ignore', 'pipe', 'ignore'], detached: true });
    let output = '';
    client.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
    try {
      for (let n = 0; n < 60; n++) {
        await new Promise((wake) => setTimeout(wake, 100));
        if (!output.includes('Initialization Sequence Completed')) continue;
        return address === '' || run('ip', 'netns', 'exec', 'gvtest', 'ping', '-c1', '-W2', address) === 0;
      }
      return false;
    } finally {
      client.kill('SIGKILL');
      run('ip', 'netns', 'del', 'gvtest');
      run('ip', 'link', 'del', 'gvtest0');
    }
  }
}

