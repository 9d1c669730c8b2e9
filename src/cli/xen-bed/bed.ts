/**
 * The Xen test bed: two real dom0s (Debian's Xen, kernel and xl) on emulated machines, reachable by ssh as root from this machine.
 * Everything is released by `stop`; what a killed bed left (it is little: its machines die with it) goes at the next start.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { pack } from 'tar-stream';
import { GridError } from '../../domain/error.js';
import { SshTransport } from '../../node/ssh.js';
import { isAlive } from '../../proc/command.js';
import { makeSshKey } from '../../pki/ssh-key.js';
import { writeWhole } from '../files.js';
import { takeLock } from '../grid/lock.js';
import { Releases } from '../releases.js';
import { dom0Disk } from './disk.js';
import { bedLayout, bedNetwork, type BedLayout, type Dom0Layout } from './layout.js';
import { Machine, endStray, kvmWorks } from './machine.js';
import { bedProcesses, dropBedNetwork, raiseBedNetwork } from './network.js';

export interface BedOptions {
  /** State directory; the bed keeps its drives there. */
  readonly home: string;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
  /** MiB of each machine (default 1536) and of its dom0 (default 640). */
  readonly memory?: number;
  readonly dom0Memory?: number;
}

export interface Dom0 {
  readonly layout: Dom0Layout;
  readonly machine: Machine;
  /** A connection of the bed's own, to look and to disturb beside the product. */
  readonly ssh: SshTransport;
}

export interface XenBed {
  readonly layout: BedLayout;
  readonly kvm: boolean;
  readonly dom0s: readonly [Dom0, Dom0];
  stop(): Promise<void>;
}

/** Both machines up, ssh answering. @throws wrong-state if a bed is up already, unavailable with the console if one does not come up */
export async function raiseBed(options: BedOptions): Promise<XenBed> {
  const { signal, say } = options;
  const layout = bedLayout(options.home);
  const undo = new Releases();
  try {
    undo.add(takeLock(layout.lock));
    await clearLeftovers(layout);
    const disk = await dom0Disk({ directory: layout.disks, signal, say });
    const kvm = await kvmWorks(disk.vmlinuz, signal);
    say(kvm ? 'hardware virtualization works here (KVM)' : 'no working hardware virtualization: the machines are emulated');
    await writeIdentities(layout);
    undo.add(() => dropBedNetwork());
    await raiseBedNetwork(layout);
    const began = Date.now();
    const dom0s = layout.dom0s.map((one): Dom0 => {
      const machine = new Machine({ layout: one, disk, kvm, memory: options.memory ?? 1536, dom0Memory: options.dom0Memory ?? 640 });
      const ssh = new SshTransport({ host: one.name, address: one.address, port: 22, user: 'root', key: layout.key, knownHosts: layout.knownHosts });
      undo.add(() => machine.stop());
      undo.add(() => ssh.close());
      machine.start();
      return { layout: one, machine, ssh };
    });
    await Promise.all(dom0s.map(({ machine }) => machine.awaitSsh(signal)));
    say(`both dom0s answer ssh, ${((Date.now() - began) / 1000).toFixed(1)} s after power-on`);
    return { layout, kvm, dom0s: dom0s as unknown as readonly [Dom0, Dom0], stop: () => undo.run() };
  } catch (error) {
    await undo.run().catch((second: unknown) => say(`while undoing: ${(second as Error).message}`));
    throw error;
  }
}

async function clearLeftovers(layout: BedLayout): Promise<void> {
  await Promise.all(layout.dom0s.map(endStray));
  const others = (await bedProcesses()).filter(isAlive);
  if (others.length > 0 && (await stillThere(others))) {
    throw new GridError('wrong-state', `namespace ${bedNetwork.netns} is used by process ${others.join(', ')}: another Xen bed is up on this machine`, { hint: 'end it first' });
  }
  await dropBedNetwork();
  rmSync(dirname(layout.key), { recursive: true, force: true });
}

/** A process that was just killed needs a moment. */
async function stillThere(pids: readonly number[]): Promise<boolean> {
  for (let tries = 0; tries < 20; tries++) {
    if (!pids.some(isAlive)) return false;
    await new Promise((wake) => setTimeout(wake, 100));
  }
  return true;
}

/** A key pair for us, one for each machine's sshd, and the drives by which the machines learn who they are. */
async function writeIdentities(layout: BedLayout): Promise<void> {
  mkdirSync(dirname(layout.key), { recursive: true, mode: 0o700 });
  const ours = makeSshKey('gridvc-xen-bed');
  writeWhole(layout.key, ours.private);
  const known: string[] = [];
  for (const one of layout.dom0s) {
    const host = makeSshKey(one.name);
    known.push(`${one.address} ${host.public.split(' ').slice(0, 2).join(' ')}\n`);
    writeFileSync(one.seed, await seed(one, { host: host.private, authorized: ours.public }), { mode: 0o600 });
  }
  writeWhole(layout.knownHosts, known.join(''));
}

/** A tar as a drive: dom0-boot unpacks it over its root. */
async function seed(one: Dom0Layout, keys: { host: string; authorized: string }): Promise<Buffer> {
  const archive = pack();
  const settings = `name=${one.name}\naddress=${one.address}/${bedNetwork.prefix}\ngateway=${bedNetwork.gateway}\nbridge_mac=${one.bridgeMac}\n`;
  archive.entry({ name: 'etc/bed', mode: 0o644 }, settings);
  archive.entry({ name: 'etc/hosts', mode: 0o644 }, `127.0.0.1 localhost\n${one.address} ${one.name}\n`);
  archive.entry({ name: 'etc/ssh/ssh_host_ed25519_key', mode: 0o600 }, keys.host);
  archive.entry({ name: 'root/.ssh/authorized_keys', mode: 0o600 }, `${keys.authorized}\n`);
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
