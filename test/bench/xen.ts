/**
 * Domains on a real dom0: from `start` to an ssh greeting against a bare `xl create` of the same kernel with a trivial init, and how many
 * creations at once serve best. On emulated machines the ratio counts, not the seconds. Nothing else may run meanwhile.
 */
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { NodeDefinition } from '../../src/domain/node.js';
import { eachLimited } from '../../src/domain/each-limited.js';
import { XenDriver } from '../../src/hypervisor/xen.js';
import { makeSshKey } from '../../src/pki/ssh-key.js';
import { hostHome } from '../../src/cli/xen-bed/hosts.js';
import { bedNetwork, domainBridge } from '../../src/cli/xen-bed/layout.js';
import { imageOn, inDom0, raiseWorld, type Dom0 } from '../xen/world.js';

const rounds = 3;

export async function benchXen(): Promise<void> {
  const world = await raiseWorld((line) => console.log(line));
  try {
    const [dom0] = world.bed.dom0s;
    const image = await imageOn(dom0, world);
    await makeBare(dom0, image.kernel);
    const driver = new XenDriver({ transport: dom0.ssh, home: hostHome, network: { bridge: domainBridge }, owner: 'bench-abcdef' });
    const bare: number[] = [];
    const ours: number[] = [];
    for (let n = 0; n < rounds; n++) {
      bare.push(await bareStart(dom0));
      ours.push(await timedStart(driver, image, 1, 1).then(({ answered }) => answered));
    }
    const [b, o] = [median(bare), median(ours)];
    console.log(`bare xl create to its init's first word: ${list(bare)} s (median ${b.toFixed(1)})`);
    console.log(`driver start to an ssh greeting:         ${list(ours)} s (median ${o.toFixed(1)}), ${(o / b).toFixed(2)} times the bare one (limit 1.5)`);
    for (const atOnce of [1, 2, 4]) {
      const { created, answered } = await timedStart(driver, image, 4, atOnce);
      console.log(`4 domains, ${atOnce} creations at once: all created after ${created.toFixed(1)} s, all answer ssh after ${answered.toFixed(1)} s`);
    }
  } finally {
    await world.close();
  }
}

type Image = Awaited<ReturnType<typeof imageOn>>;

/** A configuration with our kernel and an initial RAM disk that only says that it is there. */
async function makeBare(dom0: Dom0, kernel: string): Promise<void> {
  const script = `set -e
mount -o loop,ro "$1/layers/$2.sqfs" /mnt
cp /mnt/boot/vmlinux /root/bare-kernel
umount /mnt
rm -rf /root/bare
mkdir -p /root/bare/bin /root/bare/dev
cp /bin/busybox /root/bare/bin/
printf '#!/bin/busybox sh\\n/bin/busybox mount -t devtmpfs dev /dev\\necho bare-init-is-here > /dev/console\\nexec /bin/busybox sleep 100000\\n' > /root/bare/init
chmod 755 /root/bare/init
cd /root/bare
busybox find . | busybox cpio -o -H newc 2> /dev/null > /root/bare-initrd
printf 'name = "bare"\\ntype = "pv"\\nmemory = 128\\nvcpus = 1\\nkernel = "/root/bare-kernel"\\nramdisk = "/root/bare-initrd"\\ncmdline = "console=hvc0 quiet"\\nvif = [ "bridge=${domainBridge}" ]\\n' > /root/bare.cfg`;
  await inDom0(dom0, 'sh', '-c', script, 'bare', hostHome, kernel);
}

/** Seconds from the call of xl to the first word of the init, as the console daemon's log has it. */
async function bareStart(dom0: Dom0): Promise<number> {
  const log = '/var/log/xen/console/guest-bare.log';
  const begun = performance.now();
  await inDom0(dom0, 'sh', '-c', 'rm -f "$1"; xl create -q /root/bare.cfg; until grep -q bare-init-is-here "$1" 2> /dev/null; do sleep 0.1; done', 'bare', log);
  const seconds = (performance.now() - begun) / 1000;
  await inDom0(dom0, 'xl', 'destroy', 'bare');
  return seconds;
}

/** Starts domains, `atOnce` at a time; seconds until xl is done with all, and until all greet. They are removed again. */
async function timedStart(driver: XenDriver, image: Image, count: number, atOnce: number): Promise<{ created: number; answered: number }> {
  const key = makeSshKey('bench');
  const nodes = Array.from({ length: count }, (_, i): NodeDefinition => ({
    id: { cluster: 'benchxen', node: `n${i + 1}` }, memory: 128, disk: 300, vcpus: 1, layers: image.layers, kernel: image.kernel,
    network: { address: `198.19.77.${240 + i}/${bedNetwork.prefix}`, gateway: bedNetwork.gateway },
    context: [{ path: '/etc/ssh/ssh_host_ed25519_key', mode: 0o600, uid: 0, gid: 0, content: Buffer.from(key.private) }],
  }));
  try {
    for (const node of nodes) await driver.define(node);
    const begun = performance.now();
    const since = (): number => (performance.now() - begun) / 1000;
    const greeted = Promise.all(nodes.map((node) => greets(node.network.address.split('/')[0] ?? '', 300)));
    await eachLimited(nodes, atOnce, (node) => driver.start(node.id));
    const created = since();
    await greeted;
    return { created, answered: since() };
  } finally {
    for (const node of nodes) await driver.remove(node.id);
  }
}

async function greets(address: string, seconds: number): Promise<void> {
  for (const end = performance.now() + seconds * 1000; performance.now() < end; await pause(100)) if (await once(address)) return;
  throw new Error(`${address} did not greet within ${seconds} s`);
}

function once(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(22, address);
    const end = (answer: boolean): void => (socket.destroy(), resolve(answer));
    socket.setTimeout(1000, () => end(false));
    socket.once('error', () => end(false)).once('data', (chunk: Buffer) => end(chunk.toString('latin1').startsWith('SSH-')));
  });
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

function list(values: readonly number[]): string {
  return values.map((value) => value.toFixed(1)).join(', ');
}
