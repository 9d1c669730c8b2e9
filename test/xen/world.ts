/**
 * What the tests on real Xen stand on: the bed (two dom0s), a grid with one site whose head has them as its hosts, registered
 * as an administrator registers any host, and ways to look at the dom0s beside the product.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostHome, registrations } from '../../src/cli/xen-bed/hosts.js';
import { raiseBed, type Dom0, type XenBed } from '../../src/cli/xen-bed/bed.js';
import { Releases } from '../../src/cli/releases.js';
import type { ClusterView, EventView } from '../../src/domain/views.js';
import { endClusters, gridvc as gridvcIn, must as mustIn, prepareHome, testHome, type Ran, type RunGridvc } from '../support/grid.js';
import { connectTo } from '../bench/connection.js';

export const site = 'xen';
/** Its own: the other tests' grid has other sites. */
export const xenHome = `${testHome}-xen`;
const here = { env: { GRIDVC_HOME: xenHome } };
export const gridvc = (words: readonly string[], options: RunGridvc = {}): Promise<Ran> => gridvcIn(words, { ...options, ...here });
export const must = (words: readonly string[], seconds = 300): Promise<Ran> => mustIn(words, { seconds, ...here });

export interface World {
  readonly bed: XenBed;
  create(words: readonly string[], seconds?: number): Promise<ClusterView>;
  show(id: string): Promise<ClusterView>;
  destroy(id: string): Promise<void>;
  inNode(id: string, node: string, words: readonly string[], seconds?: number): Promise<Ran>;
  events(id: string): Promise<readonly EventView[]>;
  /** Polls until the probe answers something; undefined after `seconds`. */
  until<T>(seconds: number, probe: () => Promise<T | undefined | false>): Promise<T | undefined>;
  close(): Promise<void>;
}

/** Bed and grid up, hosts registered, base image made. */
export async function raiseWorld(say: (line: string) => void): Promise<World> {
  const undo = new Releases();
  try {
    prepareHome(xenHome);
    const bed = await raiseBed({ home: xenHome, signal: new AbortController().signal, say });
    undo.add(() => bed.stop());
    undo.add(() => gridvc(['grid', 'down', '--force']));
    await must(['grid', 'down', '--force']); // of a run before that was killed
    await must(['grid', 'up', '--sites', site], 600);
    await must(['proxy', 'init']);
    await must(['host', 'drain', `${site}-host1`]); // the embedded grid's own, which runs containers
    for (const dom0 of bed.dom0s) say((await register(dom0, bed)).stdout.trim());
    await endClusters(here);
    await must(['plan', '--count', '1'], 600); // waits for the base image
    const events = async (id: string): Promise<readonly EventView[]> => {
      const client = await connectTo(xenHome);
      try {
        return await client.awaitEvents(id, 0, 0);
      } finally {
        client.close();
      }
    };
    return {
      bed,
      events,
      create: async (words, seconds = 600) => json(await gridvc(['create', '--wait', '--json', ...words], { seconds })),
      show: async (id) => json(await gridvc(['show', id, '--json'])),
      destroy: async (id) => void (await must(['destroy', '--wait', id])),
      inNode: (id, node, words, seconds = 120) => gridvc(['exec', id, '--node', node, '--', ...words], { seconds }),
      until,
      close: () => undo.run(),
    };
  } catch (error) {
    await undo.run().catch((second: unknown) => say(`while undoing: ${String(second)}`));
    throw error;
  }
}

/** `gridvc host add`, as docs/xen.md tells an administrator. */
export function register(dom0: Dom0, bed: XenBed, more: readonly string[] = []): Promise<Ran> {
  const host = registrations(bed).find(({ name }) => name === dom0.layout.name);
  if (host === undefined) throw new Error(`${dom0.layout.name} is not of this bed`);
  const words = ['host', 'add', host.name, host.address, '--kind', host.kind, '--key', host.key, '--host-key', host.hostKey, '--bridge', host.bridge];
  return must([...words, '--subnet', host.subnet, '--gateway', host.gateway, '--range', `${host.first}-${host.last}`, '--home', host.home, '--memory', String(host.memory), ...more]);
}

export function json<T>(ran: Ran): T {
  if (ran.code !== 0) throw new Error(`exit ${ran.code}: ${ran.stderr}${ran.stdout.slice(-1000)}`);
  return JSON.parse(ran.stdout) as T;
}

export async function until<T>(seconds: number, probe: () => Promise<T | undefined | false>): Promise<T | undefined> {
  for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    await new Promise((wake) => setTimeout(wake, 500));
  }
  return undefined;
}

/** A command in a dom0; its output. @throws with its reason */
export async function inDom0(dom0: Dom0, ...argv: readonly string[]): Promise<string> {
  const result = await dom0.ssh.run(argv, { seconds: 120 });
  if (result.code !== 0) throw new Error(`${dom0.layout.name}: ${result.reason}\n${result.stderr.slice(-1000)}`);
  return result.stdout;
}

/** Names of the domains that are not the dom0 itself. */
export async function domains(dom0: Dom0): Promise<string[]> {
  return (await inDom0(dom0, 'xl', 'list')).split('\n').slice(2).flatMap((line) => line.split(/\s+/)[0] || []).sort();
}

/** All that nodes can leave on a dom0: domains, loop devices, mounts, links, xenstore entries, files. Layers and scripts stay. */
export async function holdings(dom0: Dom0): Promise<string[]> {
  const script = `xl list | tail -n +3 | sed 's/ .*//;s/^/domain /'
losetup -ln -O BACK-FILE | sed 's/^/loop /'
sed -n 's/^[^ ]* \\([^ ]*gridvc[^ ]*\\) .*/mount \\1/p' /proc/mounts
ls /sys/class/net | grep '^vif' | sed 's/^/link /'
for place in /local/domain /local/domain/0/backend/vbd /local/domain/0/backend/vif /vm /libxl; do xenstore-list $place 2> /dev/null | grep -v '^0$' | sed "s|^|xenstore $place/|"; done
for place in xen loops mnt; do find "$1/$place" -mindepth 1 ! -name .lock 2> /dev/null | sed 's/^/file /'; done
find /run/lock -name 'gridvc*' | sed 's/^/file /'
true`;
  return (await inDom0(dom0, 'sh', '-c', script, 'holdings', hostHome)).split('\n').filter((line) => line !== '').sort();
}

/** Lines of holdings of both dom0s, once they are as `before` or after 20 s. */
export async function leftOn(bed: XenBed, before: readonly string[] = []): Promise<string[]> {
  let left: string[] = [];
  await until(20, async () => {
    left = (await Promise.all(bed.dom0s.map(async (dom0) => (await holdings(dom0)).map((line) => `${dom0.layout.name}: ${line}`)))).flat().filter((line) => !before.includes(line));
    return left.length === 0;
  });
  return left;
}

/** Digests of the kernel and the base layer that a cluster without packages leaves on the host; which is which shows inside. */
export async function imageOn(dom0: Dom0, world: Pick<World, 'create' | 'destroy'>): Promise<{ readonly kernel: string; readonly layers: readonly string[] }> {
  const look = 'cd "$1/layers" 2> /dev/null || exit 0; for file in *.sqfs; do [ -e "$file" ] || continue; mount -o loop,ro "$file" /mnt; if [ -e /mnt/boot/vmlinux ]; then echo "kernel ${file%.sqfs}"; elif [ -e /mnt/usr/lib/gridvc/init ]; then echo "base ${file%.sqfs}"; fi; umount /mnt; done';
  const found = async (): Promise<Map<string, string>> => new Map((await inDom0(dom0, 'sh', '-c', look, 'look', hostHome)).trim().split('\n').map((line) => line.split(' ') as [string, string]));
  let image = await found();
  if (!image.has('kernel') || !image.has('base')) {
    const { id } = await world.create(['--count', '2', '--placement', 'spread', '--memory', '128', '--disk', '300']);
    await world.destroy(id);
    image = await found();
  }
  const [kernel, base] = [image.get('kernel'), image.get('base')];
  if (kernel === undefined || base === undefined) throw new Error(`no kernel or base among the layers of ${dom0.layout.name}`);
  return { kernel, layers: [base] };
}

export const headLog = (): string => join(xenHome, 'grid', 'log', `head-${site}.log`);
export const headPid = (): number => Number(readFileSync(join(xenHome, 'grid', 'run', `head-${site}.pid`), 'utf8'));

export { hostHome };
export type { Dom0, XenBed };
