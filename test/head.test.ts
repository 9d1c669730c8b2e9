/**
 * One head alone, as the gatekeeper sees it: its own process and TLS endpoint, real apt, dpkg, runc. A part is
 * planned, built, started, killed in the middle and resumed, and taken down to nothing.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { HeadClient } from '../gatekeeper/head-client.js';
import { whyNoGrid } from './support/grid.js';
import { holdings, leaked } from './support/leaks.js';
import { live, oneHead } from './support/one-head.js';
import { partSpec } from './support/part-spec.js';
import { startSshd } from './support/sshd.js';

const why = whyNoGrid();
if (why !== undefined) t.test('a head', { skip: why }, async () => {});
else {
  const machine = holdings();
  t.test('a head', { timeout: 1_500_000 }, async (t) => {
    const world = await oneHead(t, 'head', true);
    const { layout, site, head, reach } = world;
    await world.start();

    await t.test('only the gatekeeper may call', async (t) => {
      const stranger = new HeadClient({ url: site.url, tls: { ca: [readFileSync(layout.authority.certificate, 'utf8')], cert: readFileSync(layout.user.certificate, 'utf8'), key: readFileSync(layout.user.key, 'utf8') } });
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
      t.same(await leaked(before), []);
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
      world.kill();
      await pause(200);
      await world.start();
      const up = await reach(spec.cluster, live);
      t.equal(up.state, 'joining', up.reason ?? '');
      t.equal(up.nodes.filter((node) => node.state === 'running').length, 4);
      await head.extendPart(spec.cluster, Date.now() + 500);
      await reach(spec.cluster, ['destroyed'], 30);
      t.same(await leaked(before), []);
    });

    await t.test('destroyed in the middle of a build: the build is abandoned', async (t) => {
      const before = holdings();
      const spec = partSpec(id(4), 1, [['cmake', 'gdb', 'tcl', 'ruby', 'perl-doc', 'php-cli'][Date.now() % 6] ?? 'tcl', 'figlet']);
      await head.createPart(spec);
      await pause(1500);
      await head.destroyPart(spec.cluster);
      await reach(spec.cluster, ['destroyed'], 30);
      t.same(await leaked(before), []);
    });

    await t.test('a host over ssh: nothing of ours is on it but what the head sends', async (t) => {
      await world.stop();
      const before = holdings();
      const remote = mkdtempSync(join(tmpdir(), 'gridvc-host-'));
      t.teardown(() => rmSync(remote, { recursive: true, force: true }));
      const sshd = await startSshd(join(remote, 'sshd'), { address: site.address, netns: site.netns });
      t.teardown(() => sshd.stop());
      world.configure(({ hosts }) => Object.assign((hosts as object[])[0] ?? {}, { name: 'far1', home: join(remote, 'gridvc'), transport: { kind: 'ssh', address: site.address, port: sshd.port, user: 'root', key: sshd.key, knownHosts: sshd.knownHosts } }));
      await world.start();
      const spec = partSpec(id(5), 3, ['hello']);
      await head.createPart(spec);
      const up = await reach(spec.cluster, live);
      t.equal(up.state, 'joining', up.reason ?? '');
      t.same(up.nodes.map((node) => `${node.host} ${node.state}`), ['far1 running', 'far1 running', 'far1 running']);
      await head.destroyPart(spec.cluster);
      await reach(spec.cluster, ['destroyed']);
      await world.stop();
      await sshd.stop();
      t.same(await leaked(before), []);
    });
  });
  t.test('the machine is as before', async (t) => t.same(await leaked(machine), []));
}

/** New names in each run: the head's database is kept between runs. */
const run = Math.floor(Math.random() * 36 ** 5).toString(36).padStart(5, '0');
function id(n: number): string {
  return `h${n}${run}x`;
}
