/** What goes wrong on real dom0s, and what the user and the next cluster see of it. */
import type { Test } from 'tap';
import { XenDriver } from '../../src/hypervisor/xen.js';
import type { NodeDefinition } from '../../src/domain/node.js';
import { domainBridge, bedNetwork } from '../../src/cli/xen-bed/layout.js';
import type { ClusterView } from '../../src/domain/views.js';
import { small } from './cluster.js';
import { domains, gridvc, headPid, holdings, hostHome, imageOn, inDom0, json, leftOn, must, until, type Dom0, type World } from './world.js';

export async function faultTests(t: Test, world: World): Promise<void> {
  const { bed } = world;
  const [one, two] = bed.dom0s;
  const pair = [...small, '--count', '2', '--placement', 'spread'];
  /** Begins a cluster and returns once its head is at work on the hosts. */
  const begin = async (words: readonly string[]): Promise<string> => {
    const { id } = json<ClusterView>(await gridvc(['create', '--json', ...words]));
    const launching = await until(60, async () => ['launching', 'joining', 'ready', 'failed'].includes((await world.show(id)).state));
    if (launching === undefined) throw new Error(`cluster ${id} is not launching: ${(await world.show(id)).state}`);
    return id;
  };
  const outcome = async (id: string, seconds = 300): Promise<ClusterView> => (await until(seconds, async () => {
    const view = await world.show(id);
    return (view.state === 'ready' || view.state === 'failed') && view;
  })) ?? world.show(id);

  await t.test('ssh is cut in mid-command: the head looks, then decides', async (t) => {
    const id = await begin(pair);
    for (let n = 0; n < 3; n++) {
      // every session but the one that asks; the commands that they ran go on or die as they like
      await inDom0(one, 'sh', '-c', 'own=$(ps -o ppid= -p $PPID | tr -d " "); for p in $(pgrep -x sshd); do if [ "$p" != "$own" ] && tr "\\0" " " < /proc/$p/cmdline | grep -q @; then kill -9 $p; fi; done; true');
      await new Promise((wake) => setTimeout(wake, 1500));
    }
    const view = await outcome(id);
    t.equal(view.state, 'ready', view.reason ?? '');
    t.match((await world.events(id)).map((event) => event.text).join('\n'), /connection was lost|waiting for the host|cannot be used/i, 'it was noticed');
    t.equal((await domains(one)).filter((name) => name.includes(id)).length, 1, 'one domain, not two');
    await world.destroy(id);
    t.same(await leftOn(bed), []);
    await must(['host', 'check', one.layout.name]); // a look of the head may have met a cut, too, and the next is up to a minute away
  });

  await t.test('a dom0 reboots in mid-launch: its node comes up when it is back', async (t) => {
    const id = await begin(pair);
    await two.machine.reset();
    const view = await outcome(id, 400);
    t.equal(view.state, 'ready', view.reason ?? '');
    await two.machine.awaitSsh(new AbortController().signal);
    t.equal((await domains(two)).length, 1, 'one domain');
    await world.destroy(id);
    t.same(await leftOn(bed), []);
  });

  await t.test('a dom0 without memory: the reason reaches the user', async (t) => {
    const free = Number(/free_memory\s*:\s*(\d+)/.exec(await inDom0(one, 'xl', 'info'))?.[1]);
    await takeMemory(one, free - 96);
    const failed = await gridvc(['create', '--wait', '--json', ...pair], { seconds: 300 });
    t.not(failed.code, 0);
    t.match(failed.stdout + failed.stderr, /dom0-1[^]*(not enough memory|out of memory|memory)/);
    await inDom0(one, 'xl', 'destroy', 'ballast');
    t.same(await leftOn(bed), [], 'and nothing of it is left');
    const { reason } = json<ClusterView[]>(await gridvc(['list', '--all', '--json'])).at(-1) ?? {};
    t.match(reason ?? '', /xl create: [^/]*memory/i, `the user reads: ${reason?.slice(0, 300)}`);
  });

  await t.test('a domain that never answers: its console is in the error', async (t) => {
    const id = await begin(['--count', '1', ...small]);
    const paused = await until(90, async () => {
      for (const dom0 of bed.dom0s) {
        const [name] = await domains(dom0);
        if (name === undefined) continue;
        // as soon as it has said something: stopped dead, as a hung kernel is
        if ((await dom0.ssh.run(['test', '-s', `/var/log/xen/console/guest-${name}.log`])).code !== 0) return undefined;
        return (await dom0.ssh.run(['xl', 'pause', name])).code === 0;
      }
      return undefined;
    });
    t.ok(paused, 'the domain hangs');
    const view = await outcome(id, 400);
    t.equal(view.state, 'failed');
    t.match(view.reason ?? '', /was not verified over the overlay within \d+ s; its console ends: \S/, `the user reads: ${view.reason?.slice(-300)}`);
    await must(['destroy', '--wait', id]).catch(() => undefined);
    t.same(await leftOn(bed), []);
  });

  await t.test('a head is killed in mid-launch; what lies about is adopted or removed by name', async (t) => {
    const stray = driver(one, await ownerOf(world));
    const image = await imageOn(one, world);
    const id = await begin(pair);
    process.kill(headPid(), 'SIGKILL');
    // a node of a cluster that this head does not know, as after the loss of its database
    await stray.define(definition('zzzzzzz9', image, '198.19.77.149'));
    t.equal((await holdings(one)).some((line) => line.includes('zzzzzzz9')), true, 'a stray node lies there');
    await must(['grid', 'up']);
    const view = await outcome(id);
    t.equal(view.state, 'ready', view.reason ?? '');
    t.ok(await until(60, async () => !(await holdings(one)).some((line) => line.includes('zzzzzzz9'))), 'the stray one was removed');
    t.equal((await domains(one)).length + (await domains(two)).length, 2);
    await world.destroy(id);
    t.same(await leftOn(bed), []);
  });

  await t.test('two heads on one dom0: each touches only its own', async (t) => {
    const other = driver(one, 'other-abcdef');
    const image = await imageOn(one, world);
    const foreign = definition('otherone', image, '198.19.77.148');
    await other.define(foreign);
    const id = await begin(['--count', '2', ...small]);
    await must(['grid', 'up']); // the first head looks around again
    t.equal((await outcome(id)).state, 'ready');
    t.same((await other.list()).map((node) => node.id), [foreign.id], "the other head sees its own node and not the first's");
    await other.remove({ cluster: id, node: 'n1' });
    await world.destroy(id);
    t.same((await other.list()).map((node) => node.id), [foreign.id], 'and it outlives all that the first head did');
    await other.remove(foreign.id);
    t.same(await leftOn(bed), []);
  });
}

/** A paused domain that has this much memory and never runs. */
async function takeMemory(dom0: Dom0, memory: number): Promise<void> {
  const script = `set -e
kernel=$(ls -S "$2"/layers/*.sqfs | while read -r layer; do if mount -o loop,ro "$layer" /mnt 2> /dev/null; then if [ -e /mnt/boot/vmlinux ]; then cp /mnt/boot/vmlinux /root/kernel; fi; umount /mnt; fi; done; echo /root/kernel)
printf 'name = "ballast"\\nmemory = %s\\nvcpus = 1\\nkernel = "%s"\\n' "$1" "$kernel" > /root/ballast.cfg
xl create -q -p /root/ballast.cfg`;
  await inDom0(dom0, 'sh', '-c', script, 'ballast', String(memory), hostHome);
}

/** What the head calls itself in its domains' names; from one of them. */
async function ownerOf(world: World): Promise<string> {
  const cluster = await world.create(['--count', '1', ...small]);
  const names = (await Promise.all(world.bed.dom0s.map(domains))).flat();
  await world.destroy(cluster.id);
  const owner = new RegExp(`^gv-(.*)-${cluster.id}-n1$`).exec(names[0] ?? '')?.[1];
  if (owner === undefined) throw new Error(`no owner in ${names.join(', ')}`);
  return owner;
}

function driver(dom0: Dom0, owner: string): XenDriver {
  return new XenDriver({ transport: dom0.ssh, home: hostHome, network: { bridge: domainBridge }, owner });
}

function definition(cluster: string, image: Pick<NodeDefinition, 'layers'> & { readonly kernel: string }, address: string): NodeDefinition {
  return { id: { cluster, node: 'n1' }, memory: 128, disk: 100, vcpus: 1, ...image, network: { address: `${address}/${bedNetwork.prefix}`, gateway: bedNetwork.gateway }, context: [] };
}
