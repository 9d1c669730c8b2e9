/**
 * The main job on a real grid of two sites on this machine: from a signed request to an MPI program on
 * nodes of both, and back to nothing. Real apt, dpkg, runc, OpenVPN, ssh, PostgreSQL, TLS.
 */
import { readFileSync, writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { spawn, spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { ClusterView } from '../src/domain/views.js';
import { holdings, settled } from './support/leaks.js';
import { gridvc, prepareHome, root, testHome, whyNoGrid } from './support/grid.js';

const why = whyNoGrid();
if (why !== undefined) t.test('the main job', { skip: why }, async () => {});
else {
  const pids = join(testHome, 'grid', 'run');
  const scratch = mkdtempSync(join(tmpdir(), 'gridvc-flow-'));
  const machine = holdings();
  prepareHome();

  t.before(async () => {
    const up = await gridvc(['grid', 'up']);
    if (up.code !== 0) throw new Error(`grid up failed: ${up.stderr}`);
    const proxy = await gridvc(['proxy', 'init']);
    if (proxy.code !== 0) throw new Error(`proxy init failed: ${proxy.stderr}`);
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

  t.test('four nodes over two sites, an MPI program on all of them, and nothing left', async (t) => {
    const before = holdings();
    const cluster = await create([join(root, 'examples', 'mpi.rsl')]);
    t.equal(cluster.state, 'ready');
    t.same(cluster.nodes.map((node) => node.state), ['ready', 'ready', 'ready', 'ready']);
    t.same([...new Set(cluster.nodes.map((node) => node.site))].sort(), ['alpha', 'beta'], 'both sites');
    t.ok(cluster.predictedSeconds > 0 && (cluster.measuredSeconds ?? 0) > 0, `predicted ${cluster.predictedSeconds} s, measured ${cluster.measuredSeconds} s`);
    const launch = cluster.stages.find((stage) => stage.stage === 'launch');
    t.ok(launch?.predicted !== undefined && launch.elapsed !== undefined && launch.done, 'each stage has both');

    t.test('mpirun needs no option and reaches every node', async (t) => {
      writeFileSync(join(scratch, 'hello.c'), readFileSync(join(root, 'examples', 'hello-mpi.c')));
      const source = readFileSync(join(scratch, 'hello.c'), 'utf8');
      const compiled = await gridvc(['exec', cluster.id, '--node', 'n1', '--', 'sh', '-c', 'cat > hello.c && mpicc -o hello hello.c && for n in n2 n3 n4; do scp -q hello $n:; done'], { input: source });
      t.equal(compiled.code, 0, compiled.stderr);
      const ran = await inNode(cluster, 'n1', ['mpirun', './hello']);
      t.equal(ran.code, 0, ran.stderr);
      for (const node of cluster.nodes) t.match(ran.stdout, new RegExp(`\\b${node.name}\\b`), `${node.name} answered`);
    });

    t.test('sites are separate networks: only the overlay joins them', async (t) => {
      const [alpha, beta] = ['alpha', 'beta'].map((site) => cluster.nodes.find((node) => node.site === site));
      if (!alpha || !beta) return t.fail('nodes missing');
      const address = (await inNode(cluster, beta.name, ['sh', '-c', "ip -4 -o addr show eth0 | awk '{print $4}'"])).stdout.replace(/^n\d+: /, '').trim().split('/')[0] ?? '';
      t.match(address, /^192\.168\./, 'a private address');
      const inner = await inNode(cluster, alpha.name, ['ping', '-c1', '-W1', '-I', 'eth0', address]);
      const own = (await inNode(cluster, alpha.name, ['hostname', '-I'])).stdout;
      t.ok(inner.code !== 0 || own.includes(address), 'beside the overlay it is unreachable');
      t.equal((await inNode(cluster, alpha.name, ['ping', '-c1', '-W2', beta.overlayAddress])).code, 0, 'over the overlay it answers');
    });

    t.test('limits of a node are real', async (t) => {
      const memory = await inNode(cluster, 'n1', ['sh', '-c', 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max']);
      t.match(memory.stdout, /335544320/, '320 MiB');
      const disk = await inNode(cluster, 'n1', ['sh', '-c', 'df -BM --output=size / | tail -1']);
      const mib = Number(/(\d+)M/.exec(disk.stdout)?.[1]);
      t.ok(mib > 1200 && mib <= 1600, `disk ${mib} MiB`);
    });

    t.test('any openvpn client joins with the profile, until the cluster is gone', async (t) => {
      const profile = join(scratch, 'laptop.ovpn');
      t.equal((await gridvc(['vpn', cluster.id, '--out', profile])).code, 0);
      t.ok(await joins(profile, cluster.nodes[0]?.overlayAddress ?? ''), 'joined and reached n1');
    });

    await destroy(cluster.id);
    t.equal((await show(cluster.id)).state, 'destroyed');
    t.same(await settled(before), [], 'processes, mounts, namespaces, links, routes, cgroups, loops are as before');
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
    t.same(await settled(before), []);
  });

  t.test('kill -9 of a head in the middle of a launch: it resumes', async (t) => {
    const before = holdings();
    const created = json<ClusterView>(await gridvc(['create', '--json', '--count', '2', '--package', 'hello', '--site', 'alpha']));
    process.kill(Number(readFileSync(join(pids, 'head-alpha.pid'), 'utf8')), 'SIGKILL');
    t.equal((await gridvc(['grid', 'up'])).code, 0, 'grid up brings the head back');
    const after = json<ClusterView>(await gridvc(['watch', created.id, '--json-final'])) ;
    t.equal(after.state, 'ready', after.reason ?? '');
    await destroy(created.id);
    t.same(await settled(before), []);
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
    const ran = await gridvc(['create', '--wait', '--count', '1', '--package', 'cowsay'], { signalAfter: { ms: 1500, signal: 'SIGINT' } });
    t.equal(ran.code, 130);
    t.same(await settled(before, [], 20), []);
  });

  t.test('grid down leaves nothing', async (t) => {
    t.equal((await gridvc(['grid', 'down'])).code, 0);
    t.same(await settled(machine), []);
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

