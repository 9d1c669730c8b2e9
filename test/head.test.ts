/**
 * One head alone, as the gatekeeper sees it: its own process and TLS endpoint, real apt, dpkg, runc. A part is
 * planned, built, started, killed in the middle and resumed, and taken down to nothing.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { parse, stringify } from 'yaml';
import { HeadClient } from '../gatekeeper/head-client.js';
import { makeIdentities } from '../src/cli/grid/authority.js';
import { writeConfigs } from '../src/cli/grid/config.js';
import { awaitDaemon, startDaemon, stopProcess } from '../src/cli/grid/daemons.js';
import { gridLayout } from '../src/cli/grid/layout.js';
import { dropNetworks, raiseNetworks } from '../src/cli/grid/network.js';
import { runningPid } from '../src/cli/grid/state.js';
import { Releases } from '../src/cli/releases.js';
import type { ClusterState } from '../src/domain/lifecycle.js';
import { makeLog } from '../src/log.js';
import type { PartView } from '../src/ports.js';
import { startPostgres } from '../src/store/embedded.js';
import { testHome, whyNoGrid } from './support/grid.js';
import { holdings, settled } from './support/leaks.js';
import { startSshd } from './support/sshd.js';
import { partSpec } from './support/part-spec.js';

const why = whyNoGrid();
if (why !== undefined) t.test('a head', { skip: why }, async () => {});
else {
  const machine = holdings();
  t.test('a head', { timeout: 1_500_000 }, async (t) => {
    const layout = gridLayout(`${testHome}-head`, ['alpha']);
    const [site] = layout.sites;
    if (site === undefined) throw new Error('no site');
    const user = '/O=Grid/OU=gridvc/CN=tester';
    const signal = new AbortController().signal;
    for (const dir of [layout.dir, join(layout.dir, 'run'), join(layout.dir, 'log'), layout.trust, layout.gatekeeper.home, site.home]) mkdirSync(dir, { recursive: true, mode: 0o711 });
    await makeIdentities(layout, user);
    t.teardown(() => dropNetworks(layout));
    await raiseNetworks(layout, new Releases());
    const postgres = await startPostgres({ home: layout.dir, log: makeLog('test', 'error') });
    t.teardown(() => postgres.stop());
    writeConfigs(layout, { version: 1, user, account: 'tester', sites: ['alpha'] }, { database: (name) => postgres.url(name), memory: 4000 });
    t.teardown(() => stopProcess(site, 10));
    const restart = async (): Promise<void> => {
      await startDaemon(site);
      await awaitDaemon(site, signal);
    };
    await restart();

    const tls = (who: { certificate: string; key: string }): { ca: string[]; cert: string; key: string } => ({ ca: [readFileSync(layout.authority.certificate, 'utf8')], cert: readFileSync(who.certificate, 'utf8'), key: readFileSync(who.key, 'utf8') });
    const head = new HeadClient({ url: site.url, tls: tls(layout.gatekeeper) });
    t.teardown(() => head.close());
    const reach = async (cluster: string, states: readonly ClusterState[], seconds = 240): Promise<PartView> => {
      for (let left = seconds * 5; left > 0; left--) {
        const part = await head.getPart(cluster);
        if (states.includes(part.state)) return part;
        await pause(200);
      }
      throw new Error(`${cluster} is still ${(await head.getPart(cluster)).state}`);
    };
    const live: readonly ClusterState[] = ['joining', 'ready', 'failed'];

    await t.test('only the gatekeeper may call', async (t) => {
      const stranger = new HeadClient({ url: site.url, tls: tls(layout.user) });
      await t.rejects(stranger.snapshot(), { kind: 'not-authorized', message: /CN=tester may not call/ });
      stranger.close();
    });

    await t.test('a plan resolves for real and predicts each stage', async (t) => {
      const plan = await head.plan({ memory: 320, disk: 1600, vcpus: 1, os: 'bookworm', packages: ['hello'], bundles: ['c-dev'] }, 4);
      t.ok(plan.predicted > 0 && plan.stages.every((stage) => stage.predicted !== undefined), plan.reason);
      await t.rejects(head.plan({ memory: 320, disk: 1600, vcpus: 1, os: 'bookworm', packages: ['octve'], bundles: [] }, 4), { kind: 'bad-request', message: /octve/, hint: /octave/ });
      await t.rejects(head.plan({ memory: 320, disk: 1600, vcpus: 1, os: 'bookworm', packages: [], bundles: ['mpj'] }, 4), { message: /no bundle "mpj"/, hint: /mpi/ });
      await t.rejects(head.plan({ memory: 320, disk: 1600, vcpus: 1, os: 'sarge', packages: [], bundles: [] }, 4), { message: /no release "sarge"/, hint: /bookworm/ });
    });

    await t.test('a part comes up, is confirmed, and goes without a trace', async (t) => {
      const before = holdings();
      const spec = partSpec(id(1), 2, ['hello']);
      const [first, again] = [await head.createPart(spec), await head.createPart(spec)];
      t.equal(first.cluster, again.cluster, 'asked twice, made once');
      const up = await reach(spec.cluster, live);
      t.equal(up.state, 'joining', up.reason ?? '');
      t.same(up.nodes.map((node) => node.state), ['running', 'running']);
      t.ok(up.measured.some(({ stage, seconds }) => stage === 'launch' && seconds > 0));
      t.equal((await head.confirmPart(spec.cluster, [{ stage: 'join', seconds: 1, bytes: 0, items: 2 }], ['n1', 'n2'])).state, 'ready');
      await head.destroyPart(spec.cluster);
      await reach(spec.cluster, ['destroyed']);
      t.same(await settled(before), []);
      t.equal((await head.destroyPart('neverma1')).state, 'destroyed', 'what never was is destroyed');
    });

    await t.test('no room: said with what was asked and what is free, nothing stored', async (t) => {
      await t.rejects(head.createPart({ ...partSpec(id(2), 3, []), memory: 3000 }), { kind: 'no-capacity', message: /asked 3 nodes of 3000 MiB.*room for 1/, hint: /alpha-host1 4000 MiB/ });
      await t.rejects(head.getPart(id(2)), { message: /has no part/ });
    });

    await t.test('kill -9 during the launch: resumed; while it runs: found again; its lease ends by itself', async (t) => {
      const before = holdings();
      const spec = partSpec(id(3), 4, ['hello']);
      await head.createPart(spec);
      await reach(spec.cluster, ['launching', ...live]);
      process.kill(runningPid(site) ?? 0, 'SIGKILL');
      await pause(200);
      await restart();
      const up = await reach(spec.cluster, live);
      t.equal(up.state, 'joining', up.reason ?? '');
      t.equal(up.nodes.filter((node) => node.state === 'running').length, 4);
      await head.extendPart(spec.cluster, Date.now() + 500);
      await reach(spec.cluster, ['destroyed'], 30);
      t.same(await settled(before), []);
    });

    await t.test('destroyed in the middle of a build: the build is abandoned', async (t) => {
      const before = holdings();
      const spec = partSpec(id(4), 1, [['cmake', 'gdb', 'tcl', 'ruby', 'perl-doc', 'php-cli'][Date.now() % 6] ?? 'tcl', 'figlet']);
      await head.createPart(spec);
      await pause(1500);
      await head.destroyPart(spec.cluster);
      await reach(spec.cluster, ['destroyed'], 30);
      t.same(await settled(before), []);
    });

    await t.test('a host over ssh: nothing of ours is on it but what the head sends', async (t) => {
      await stopProcess(site, 10);
      const before = holdings();
      const remote = mkdtempSync(join(tmpdir(), 'gridvc-host-'));
      t.teardown(() => rmSync(remote, { recursive: true, force: true }));
      const sshd = await startSshd(join(remote, 'sshd'), { address: site.address, netns: site.netns });
      t.teardown(() => sshd.stop());
      const config = parse(readFileSync(site.config, 'utf8')) as { hosts: Record<string, unknown>[] };
      Object.assign(config.hosts[0] ?? {}, { name: 'far1', home: join(remote, 'gridvc'), transport: { kind: 'ssh', address: site.address, port: sshd.port, user: 'root', key: sshd.key, knownHosts: sshd.knownHosts } });
      writeFileSync(site.config, stringify(config));
      await restart();
      const spec = partSpec(id(5), 3, ['hello']);
      await head.createPart(spec);
      const up = await reach(spec.cluster, live);
      t.equal(up.state, 'joining', up.reason ?? '');
      t.same(up.nodes.map((node) => `${node.host} ${node.state}`), ['far1 running', 'far1 running', 'far1 running']);
      await head.destroyPart(spec.cluster);
      await reach(spec.cluster, ['destroyed']);
      await stopProcess(site, 10);
      await sshd.stop();
      t.same(await settled(before), []);
    });
  });
  t.test('the machine is as before', async (t) => t.same(await settled(machine), []));
}

/** New names in each run: the head's database is kept between runs. */
const run = Math.floor(Math.random() * 36 ** 5).toString(36).padStart(5, '0');
function id(n: number): string {
  return `h${n}${run}x`;
}
