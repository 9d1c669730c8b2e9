/** The main job on real dom0s: four domains on two hosts, an MPI program over them, a node that dies and comes back, and nothing left. */
import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { domains, gridvc, hostHome, inDom0, json, leftOn, must, register, until, type World } from './world.js';
import type { HostView } from '../../src/domain/admin-views.js';

/** Passes a number around all processes of an MPI program; each says where it is. */
const ring = `from mpi4py import MPI
import socket
world = MPI.COMM_WORLD
rank, size = world.Get_rank(), world.Get_size()
if rank == 0:
    world.send(1, dest=1 % size)
    total = world.recv(source=size - 1)
else:
    total = world.recv(source=rank - 1) + 1
    world.send(total, dest=(rank + 1) % size)
print("rank", rank, "of", size, "on", socket.gethostname(), "has", total, flush=True)
`;

/** Python and Open MPI: with less they read their pages again and again. */
const roomy = ['--memory', '256', '--disk', '400'] as const;
export const small = ['--memory', '144', '--disk', '400'] as const;

export async function clusterTests(t: Test, world: World): Promise<void> {
  const { bed } = world;
  const [one, two] = bed.dom0s;

  await t.test('hosts are registered, and say what they are', async (t) => {
    const { hosts } = json<{ hosts: readonly HostView[] }>(await gridvc(['host', 'list', '--json']));
    const dom0s = hosts.filter((host) => host.kind === 'xen');
    t.same(dom0s.map(({ name, usable, problems }) => ({ name, usable, problems })), bed.dom0s.map(({ layout }) => ({ name: layout.name, usable: true, problems: [] })));
    const checked = await must(['host', 'check', one.layout.name]);
    t.match(checked.stdout, /[Xx]en 4\.17/);
    t.match(checked.stdout, /it can be used/);
  });

  await t.test('what a host lacks is said exactly, with the command that mends it', async (t) => {
    await inDom0(two, 'mv', '/usr/sbin/mkfs.ext4', '/usr/sbin/mkfs.away');
    const lacking = await gridvc(['host', 'check', two.layout.name]);
    await inDom0(two, 'mv', '/usr/sbin/mkfs.away', '/usr/sbin/mkfs.ext4');
    t.equal(lacking.code, 1);
    t.match(lacking.stdout, /mkfs\.ext4[^]*apt(-get)? install/);
    const strange = await register(two, bed, ['--bridge', 'nobr0']).catch((error: Error) => error);
    t.match(String(strange), /nobr0[^]*(ip link|bridge)/);
    await register(two, bed);
    t.match((await must(['host', 'check', two.layout.name])).stdout, /it can be used/);
  });

  await t.test('four domains on two dom0s', async (t) => {
    const before = await leftOn(bed, ['(nothing)']);
    t.same(before, [], 'the dom0s hold nothing');
    const began = performance.now();
    const cluster = await world.create(['--count', '4', ...roomy, '--placement', 'spread', '--bundle', 'mpi', '--package', 'python3-mpi4py']);
    t.equal(cluster.state, 'ready', `ready after ${((performance.now() - began) / 1000).toFixed(0)} s`);
    t.comment(cluster.stages.map((stage) => `${stage.stage} ${(stage.elapsed ?? NaN).toFixed(1)} s`).join(', '));
    t.same(cluster.nodes.map((node) => node.state), ['ready', 'ready', 'ready', 'ready']);
    for (const dom0 of bed.dom0s) {
      const names = await domains(dom0);
      t.equal(names.length, 2, `${dom0.layout.name} runs ${names.join(', ')}`);
      t.ok(names.every((name) => name.includes(cluster.id)), 'named after the cluster');
    }
    t.equal((await world.inNode(cluster.id, 'n1', ['cat', '/sys/hypervisor/type'])).stdout.trim(), 'xen', 'a real domain');
    const memory = Number(/MemTotal:\s+(\d+)/.exec((await world.inNode(cluster.id, 'n2', ['cat', '/proc/meminfo'])).stdout)?.[1]) / 1024;
    t.ok(memory > 180 && memory <= 256, `${memory.toFixed(0)} MiB`);

    await t.test('mpirun over all of them, without a prompt or an option', async (t) => {
      for (const node of cluster.nodes) {
        const put = await gridvc(['exec', cluster.id, '--node', node.name, 'cat > ring.py'], { input: ring, seconds: 120 });
        t.equal(put.code, 0, put.stderr);
      }
      const ran = await world.inNode(cluster.id, 'n1', ['mpirun', 'python3', 'ring.py'], 240);
      t.equal(ran.code, 0, ran.stderr);
      for (const [rank, node] of cluster.nodes.entries()) t.match(ran.stdout, new RegExp(`rank ${rank} of 4 on ${node.name} has ${rank === 0 ? 4 : rank + 1}\\b`));
    });

    await t.test('a domain that crashes is seen within 15 s and made again', async (t) => {
      const victim = cluster.nodes[2]?.name ?? '';
      const crashed = Date.now();
      void world.inNode(cluster.id, victim, ['sudo', 'sh', '-c', 'echo c > /proc/sysrq-trigger'], 20);
      const seen = await until(40, async () => (await world.events(cluster.id)).find((event) => event.node === victim && /replacing|crash|does not run|ended|died/i.test(event.text)));
      t.ok(seen, `seen: ${seen?.text.slice(0, 200)}`);
      const after = (Date.parse(seen?.at ?? '') - crashed) / 1000;
      t.ok(after <= 15, `${after.toFixed(1)} s after the crash was asked for`);
      const back = await until(240, async () => (await world.show(cluster.id)).nodes.find((node) => node.name === victim && node.state === 'ready'));
      t.ok(back, `ready again ${((Date.now() - crashed) / 1000).toFixed(0)} s after the crash`);
      t.equal((await world.inNode(cluster.id, 'n1', ['ssh', victim, 'hostname'])).stdout.trim(), victim, 'its neighbours reach it by name, with the same host key');
    });

    await t.test('a domain that is killed from outside, too', async (t) => {
      const name = (await domains(two)).find((domain) => domain.endsWith('n2') || domain.endsWith('n4')) ?? (await domains(two))[0] ?? '';
      const victim = name.slice(name.lastIndexOf('n'));
      await inDom0(two, 'xl', 'destroy', name);
      const killed = Date.now();
      const seen = await until(40, async () => (await world.events(cluster.id)).find((event) => event.node === victim && Date.parse(event.at) >= killed - 2000 && /replacing|does not run|gone|ended|died/i.test(event.text)));
      t.ok(seen && Date.parse(seen.at) - killed <= 15_000, `seen: ${seen?.text.slice(0, 200)}`);
      t.ok(await until(240, async () => (await world.show(cluster.id)).nodes.every((node) => node.state === 'ready')), 'all four are ready again');
    });

    await t.test('the next cluster of the kind: no layer is sent a second time', async (t) => {
      const sent = async (id: string): Promise<number> => (await must(['show', id, '--json'])).stdout.length && ((await world.show(id)).stages.find((stage) => stage.stage === 'distribute')?.elapsed ?? 0);
      const second = await world.create(['--count', '2', ...small, '--placement', 'spread', '--bundle', 'mpi', '--package', 'python3-mpi4py']);
      t.equal(second.state, 'ready');
      const inodes = async (): Promise<string> => (await Promise.all(bed.dom0s.map((dom0) => inDom0(dom0, 'sh', '-c', 'ls -i "$1/layers"', 'ls', hostHome)))).join('');
      t.ok((await sent(second.id)) < 5, `distribute took ${(await sent(second.id)).toFixed(2)} s`);
      const listed = await inodes();
      const ping = await world.inNode(second.id, 'n1', ['ping', '-c1', '-W2', cluster.nodes[0]?.overlayAddress ?? '']);
      t.not(ping.code, 0, 'clusters do not see each other');
      await world.destroy(second.id);
      t.equal(await inodes(), listed, 'the layers stay on the hosts');
    });

    await world.destroy(cluster.id);
    t.same(await leftOn(bed), [], 'no domain, disk, loop device, mount, link or xenstore entry is left');
  });

  t.comment(readFileSync(one.layout.console, 'latin1').split('\n').map((line) => line.trim()).filter((line) => line.startsWith('bed: ')).join(' '));
}
