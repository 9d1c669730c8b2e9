/** What container-script.ts prints, as values. Pure and strict: an unknown line is an error, never a guess. */
import { isName } from '../domain/names.js';
import type { NodeStatus } from '../domain/node.js';
import type { HostCheck } from '../ports.js';

/** What each missing thing is, and the command that mends it. */
const remedies: Readonly<Record<string, (bridge: string) => string>> = {
  root: () => 'not root: log in to the host as root',
  runc: () => 'runc is missing: apt-get install runc',
  ip: () => 'ip is missing: apt-get install iproute2',
  mount: () => 'mount is missing: apt-get install mount',
  'mkfs.ext4': () => 'mkfs.ext4 is missing: apt-get install e2fsprogs',
  flock: () => 'flock is missing: apt-get install util-linux',
  nsenter: () => 'nsenter is missing: apt-get install util-linux',
  tar: () => 'tar is missing: apt-get install tar',
  squashfs: () => 'the kernel cannot mount squashfs: modprobe squashfs',
  overlay: () => 'the kernel cannot mount overlay: modprobe overlay',
  ext4: () => 'the kernel cannot mount ext4: modprobe ext4',
  tun: () => '/dev/net/tun is missing: modprobe tun && mkdir -p /dev/net && mknod /dev/net/tun c 10 200',
  loop: () => '/dev/loop-control is missing: modprobe loop',
  cgroup: () => 'the memory cgroup is not there: mount -t cgroup -o memory cgroup /sys/fs/cgroup/memory',
  bridge: (bridge) => `bridge ${bridge} is missing: ip link add ${bridge} type bridge && ip link set ${bridge} up`,
};

/** Reads the output of the verb `check`. */
export function parseCheck(stdout: string, bridge: string): HostCheck {
  const has = new Set<string>();
  const figures = new Map<string, number>();
  for (const line of stdout.split('\n').filter((text) => text !== '')) {
    const [word = '', value = ''] = line.split(' ');
    if (word === 'has' && Object.hasOwn(remedies, value)) has.add(value);
    else if (['memory', 'disk', 'vcpus'].includes(word) && /^\d+$/.test(value)) figures.set(word, Number(value));
    else throw new Error(`unknown line from the host check: ${line.slice(0, 200)}`);
  }
  const problems = Object.entries(remedies).filter(([name]) => !has.has(name)).map(([, remedy]) => remedy(bridge));
  return { ok: problems.length === 0, problems, memory: figures.get('memory') ?? 0, disk: figures.get('disk') ?? 0, vcpus: figures.get('vcpus') ?? 0 };
}

/** Reads the output of the verb `list`: "node <id>" lines, then runc's JSON if it ever ran. */
export function parseList(stdout: string): NodeStatus[] {
  const lines = stdout.split('\n');
  const ids = lines.filter((line) => line.startsWith('node ')).map((line) => line.slice(5));
  const json = lines.filter((line) => !line.startsWith('node ')).join('\n').trim();
  const containers = new Map(parseContainers(json).map(({ id, status }) => [id, status]));
  return ids.map((id) => {
    const [cluster = '', node = ''] = id.split('-');
    if (!isName('cluster', cluster) || !isName('node', node)) throw new Error(`unknown node directory on the host: ${id.slice(0, 100)}`);
    return { id: { cluster, node }, state: stateOf(id, containers.get(id)) };
  });
}

function parseContainers(json: string): { id: string; status: string }[] {
  const value: unknown = json === '' ? null : JSON.parse(json);
  if (value === null) return [];
  if (!Array.isArray(value)) throw new Error('runc list gave no list');
  return value.map((entry: { id?: unknown; status?: unknown }) => {
    if (typeof entry.id !== 'string' || typeof entry.status !== 'string') throw new Error(`unknown entry from runc list: ${JSON.stringify(entry).slice(0, 200)}`);
    return { id: entry.id, status: entry.status };
  });
}

function stateOf(id: string, status: string | undefined): NodeStatus['state'] {
  switch (status) {
    case undefined:
    case 'created': // its start was cut short; start() makes it anew
    case 'creating':
      return 'defined';
    case 'running':
    case 'paused':
    case 'pausing':
      return 'running';
    case 'stopped':
      return 'stopped';
    default:
      throw new Error(`runc says that ${id} is ${status}, which is unknown to this driver`);
  }
}
