/** What a host says, and nodes on it: the contract of drivers over a fake and over containers on real layers. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import t from 'tap';
import type { Layer } from '../src/domain/image.js';
import type { NodeDefinition, NodeId, NodeSpec, PartSpec } from '../src/domain/node.js';
import { DirectDistributor } from '../src/distribute/direct.js';
import { ContainerDriver } from '../src/hypervisor/container.js';
import { parseCheck, parseList } from '../src/hypervisor/container-output.js';
import { nodeContext } from '../src/node/context.js';
import { LocalTransport } from '../src/node/local.js';
import type { CommandResult, NodeTransport } from '../src/ports.js';
import { runCommand, startProcess } from '../src/proc/command.js';
import { driverContract } from './support/driver-contract.js';
import { FakeDriver } from './support/fake-driver.js';
import { testCache, testImage, whyNoImages } from './support/layers.js';
import { traces } from './support/leaks.js';
import { refusal } from './support/refusal.js';

t.setTimeout(600_000);
const scratch = mkdtempSync('/var/tmp/gridvc-machine-');
t.teardown(() => rmSync(scratch, { recursive: true, force: true }));
const keys = ssh2.utils.generateKeyPairSync('ed25519');
type Tap = typeof t;
/** Asked before the first test: tap takes a wait between tests for the end. */
const noNodes = whyNoImages() ?? ((await runCommand(['runc', '--version'])).code === 0 ? undefined : 'runc is not installed (gridvc doctor)');

// ---------------------------------------------------------------- what a host says

t.test('host and node lists are read strictly', async (t) => {
  const all = ['root', 'runc', 'ip', 'mount', 'mkfs.ext4', 'flock', 'tar', 'nsenter', 'squashfs', 'overlay', 'ext4', 'tun', 'loop', 'cgroup', 'bridge'];
  const figures = 'memory 24105\ndisk 72150\nvcpus 2\n';
  t.same(parseCheck(`${all.map((name) => `has ${name}\n`).join('')}${figures}`, 'br0'), { ok: true, problems: [], memory: 24105, disk: 72150, vcpus: 2 });
  t.match(parseCheck(`${all.slice(2).map((name) => `has ${name}\n`).join('')}${figures}`, 'br0'), { ok: false, problems: [/root/, /apt-get install runc/] });
  t.throws(() => parseCheck('memory lots\n', 'br0'));
  const json = '[{"ociVersion":"1.0.2","id":"abcdefgh-n1","pid":7,"status":"running","bundle":"/x"},{"id":"abcdefgh-n2","status":"stopped"}]';
  t.same(parseList(`node abcdefgh-n1\nnode abcdefgh-n2\nnode abcdefgh-n3\n${json}\n`).map((node) => node.state), ['running', 'stopped', 'defined']);
  t.same(parseList('null'), []);
  t.same(parseList(''), []);
  t.throws(() => parseList('node ../x\n'));
  t.throws(() => parseList('node abcdefgh-n1\n[{"id":"abcdefgh-n1","status":"odd"}]'), /unknown/);
});

// ---------------------------------------------------------------- container nodes

function part(cluster: string, files: PartSpec['files'] = []): PartSpec {
  return {
    cluster, owner: '/O=Grid/CN=Test', memory: 256, disk: 800, vcpus: 1, os: 'bookworm', packages: [], bundles: [], expires: 0, minCount: 1, nodes: [],
    overlay: { hubHost: '', hubPort: 0, ca: '', hubName: '', netmask: '' },
    hosts: '127.0.0.1 localhost\n', hostfile: 'n1 slots=1\n', knownHosts: `* ${keys.public}\n`, authorizedKeys: [keys.public], clusterKey: keys.private, clusterKeyPublic: keys.public, files,
  };
}

function definition(spec: PartSpec, node: string, address: string, layers: readonly Layer[]): NodeDefinition {
  const nodeSpec: NodeSpec = { name: node, overlayAddress: '', certificate: '', key: '', hostKey: keys.private, hostKeyPublic: keys.public };
  return {
    id: { cluster: spec.cluster, node }, memory: spec.memory, disk: spec.disk, vcpus: spec.vcpus, layers: layers.map((layer) => layer.digest),
    network: { address: `${address}/24`, gateway: '192.168.78.1' }, context: nodeContext(spec, nodeSpec, []),
  };
}

/** A site of its own: a network namespace with the bridge, and a host home with the layers. */
async function makeSite(t: Tap): Promise<{ transport: LocalTransport; home: string; layers: Layer[]; driver: ContainerDriver; inNode: (address: string, command: string) => Promise<CommandResult> }> {
  const layers = await testImage(['cron']);
  const netns = `gvtest-${randomBytes(3).toString('hex')}`;
  await reclaim();
  const home = mkdtempSync(join(testCache, `host-${process.pid}-`)); // on the file system of the layers, so that they are linked
  const ip = async (...words: string[]): Promise<unknown> => t.match(await runCommand(['ip', ...words]), { code: 0 });
  await ip('netns', 'add', netns);
  t.teardown(async () => {
    await runCommand(['ip', 'netns', 'del', netns]);
    rmSync(home, { recursive: true, force: true });
  });
  await ip('-n', netns, 'link', 'set', 'lo', 'up');
  await ip('-n', netns, 'link', 'add', 'gvbr0', 'type', 'bridge');
  await ip('-n', netns, 'addr', 'add', '192.168.78.1/24', 'dev', 'gvbr0');
  await ip('-n', netns, 'link', 'set', 'gvbr0', 'up');
  const transport = new LocalTransport({ host: 'h1', netns });
  const distributor = new DirectDistributor({ source: (digest) => join(testCache, 'layers', `${digest}.sqfs`), home: () => home });
  t.same(await distributor.distribute(layers, [transport]), { bytes: 0 }, 'layers are linked, not copied');
  t.same(await distributor.distribute(layers, [transport]), { bytes: 0 }, 'and not again');
  const key = join(home, 'test-key');
  writeFileSync(key, keys.private, { mode: 0o600 });
  writeFileSync(join(home, 'known'), `* ${keys.public}\n`);
  const inNode = (address: string, command: string): Promise<CommandResult> =>
    transport.run(['ssh', '-i', key, '-o', `UserKnownHostsFile=${join(home, 'known')}`, '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=5', '-o', 'ConnectionAttempts=20', `grid@${address}`, command]);
  return { transport, home, layers, driver: new ContainerDriver({ transport, home, network: { bridge: 'gvbr0' } }), inNode };
}

/** Removes what an earlier run that was killed has left. */
async function reclaim(): Promise<void> {
  for (const name of readdirSync(testCache).filter((entry) => /^host-\d+-/.test(entry) && !existsSync(`/proc/${entry.split('-')[1]}`))) {
    const home = join(testCache, name);
    const driver = new ContainerDriver({ transport: new LocalTransport({ host: 'h1' }), home, network: { bridge: 'gvbr0' } });
    const nodes = ['nodes', 'runc'].map((part) => join(home, part)).filter((path) => existsSync(path)).flatMap((path) => readdirSync(path)).filter((word) => /^\w+-\w+$/.test(word));
    for (const [cluster = '', node = ''] of nodes.map((word) => word.split('-'))) await driver.remove({ cluster, node });
    rmSync(home, { recursive: true, force: true });
  }
}

async function network(transport: NodeTransport): Promise<string[]> {
  const links = (await transport.run(['ip', '-o', 'link'])).stdout.split('\n').map((line) => line.split(':')[1]?.trim() ?? '');
  return [...links, ...readdirSync('/run/netns').filter((name) => /^gvn-gvtest/.test(name)), ...cgroups()].sort();
}

function cgroups(): string[] {
  return readdirSync('/sys/fs/cgroup').map((name) => join('/sys/fs/cgroup', name, 'gridvc')).filter((path) => existsSync(path)).flatMap((path) => readdirSync(path).filter((name) => name.startsWith('gvtest')).map((name) => join(path, name)));
}

t.test('the fake, for tests of the head, keeps the same contract', async (t) => {
  const driver = new FakeDriver('h1', new Set(['a'.repeat(64)]));
  const definition = (id: NodeId): NodeDefinition => ({ id, memory: 256, disk: 800, vcpus: 1, layers: ['a'.repeat(64)], network: { address: '192.168.78.11/24', gateway: '192.168.78.1' }, context: [] });
  await driverContract(t, { driver, definition, traces: async () => driver.traces(), cuts: [], many: 8 });
});

t.test('container nodes', { skip: noNodes ?? false, timeout: 600_000 }, async (t) => {
  const { transport, home, layers, driver, inNode } = await makeSite(t as Tap);
  t.match(await driver.check(), { ok: true, problems: [], vcpus: Number });
  t.match(await new ContainerDriver({ transport, home, network: { bridge: 'gvbr7' } }).check(), { ok: false, problems: [/gvbr7/] });
  const at = (id: NodeId): string => `192.168.78.${10 + Number(id.node.slice(1))}`;
  await driverContract(t, {
    driver,
    over: (wrap) => new ContainerDriver({ transport: wrap(transport), home, network: { bridge: 'gvbr0' } }),
    definition: (id, context = []) => {
      const node = definition(part(id.cluster), id.node, at(id), layers);
      return { ...node, context: [...node.context, ...context] };
    },
    inNode: (node, command) => inNode(at(node.id), command),
    traces: async () => [...(await traces(home)), ...(await network(transport))],
    cuts: Array.from({ length: 12 }, () => Math.round(Math.random() * 150)), // anywhere in a call; hundreds of them were tried
    many: 8,
  });
  const one = { cluster: 'gvtesta1', node: 'n1' };

  await t.test('a layer that is mounted with nobody noted for it, as a cut call may leave it, is used and let go', async (t) => {
    const digest = layers.at(-1)?.digest ?? '';
    mkdirSync(join(home, 'mnt', digest));
    t.match(await runCommand(['mount', '-t', 'squashfs', '-o', 'loop,ro', join(home, 'layers', `${digest}.sqfs`), join(home, 'mnt', digest)]), { code: 0 });
    t.teardown(() => runCommand(['umount', join(home, 'mnt', digest)])); // gone by then, if all is well
    await driver.define(definition(part('gvtesta1'), 'n9', '192.168.78.99', layers));
    t.ok(existsSync(join(home, 'mnt', digest)));
    await driver.remove({ cluster: 'gvtesta1', node: 'n9' });
    t.notOk(existsSync(join(home, 'mnt', digest)));
  });

  const before = await traces(home);
  const beforeNetwork = await network(transport);

  await t.test('a node is a Debian machine', async (t) => {
    const files: PartSpec['files'] = [
      { path: '/home/grid/mine', mode: 0o600, source: { kind: 'inline', base64: Buffer.from('mine').toString('base64') } },
      { path: '/var/run/gvtest-escape', mode: 0o644, source: { kind: 'inline', base64: '' } },
    ];
    const node = definition(part('gvtesta1', files), 'n1', '192.168.78.11', layers);
    await driver.define(node);
    await driver.start(one);
    t.equal(existsSync('/run/gvtest-escape'), false, 'no link in an image leads context files to the host');
    const seen = await inNode('192.168.78.11', 'hostname; id -un; cat mine; stat -c %U:%a mine .ssh .ssh/id_ed25519 .; sudo id -u; test -c /dev/net/tun && echo tun; cat /etc/gridvc/hostfile; ps -C sshd,runsvdir -o comm= | sort -u; cat /proc/1/comm');
    t.match(seen, { code: 0, stdout: 'n1\ngrid\nminegrid:600\ngrid:700\ngrid:600\ngrid:755\n0\ntun\nn1 slots=1\nrunsvdir\nsshd\nrunsvdir\n' });
    const disk = await inNode('192.168.78.11', 'df --output=size -m / | tail -1');
    t.ok(Number(disk.stdout) > 700 && Number(disk.stdout) <= 800, `disk is limited: ${disk.stdout.trim()} MiB`);
    const full = await inNode('192.168.78.11', 'head -c 900M /dev/zero > big; rc=$?; rm big; exit $rc');
    t.match(full, { code: 1, stderr: /No space left/ });
    t.match(await inNode('192.168.78.11', 'sudo unshare -U true; sudo mount -t tmpfs x /mnt; sudo mknod /tmp/sda b 8 0 && sudo head -c1 /tmp/sda; sudo dmesg; true'), { stderr: /unshare.*not permitted[^]*mount[^]*(denied|not permitted)[^]*(denied|not permitted)/ });
    const memory = await inNode('192.168.78.11', "perl -e '$x = \"a\" x (400 << 20); print length $x'");
    t.not(memory.code, 0, 'memory is limited');
    t.match(await inNode('192.168.78.11', 'for i in 1 2 3 4 5 6 7 8 9 10; do pgrep -x cron > /dev/null && break; sleep 0.3; done; pgrep -x cron > /dev/null && echo cron; cat /var/log/gridvc-services.log'), { stdout: /^cron\nstarting cron\n[^]*done\n/ }, 'services of its packages run');
    t.match(await inNode('192.168.78.11', 'sudo pkill -x sshd; true'), { code: Number });
    t.match(await inNode('192.168.78.11', 'echo back'), { stdout: 'back\n' }, 'sshd is supervised');
  });

  await t.test('what a runc that was cut has left goes with the node', async (t) => {
    const id = { cluster: 'gvtestd3', node: 'n1' };
    const state = join(home, 'runc', 'gvtestd3-n1');
    mkdirSync(state); // as runc 1.1 makes it, with a mount of itself while it starts
    writeFileSync(join(state, 'runc.AbCdEf'), '');
    t.match(await runCommand(['mount', '--bind', '/usr/sbin/runc', join(state, 'runc.AbCdEf')]), { code: 0 });
    const groups = readdirSync('/sys/fs/cgroup').map((name) => join('/sys/fs/cgroup', name, 'gridvc')).filter((path) => existsSync(path)).map((path) => join(path, 'gvtestd3-n1'));
    t.teardown(() => runCommand(['umount', join(state, 'runc.AbCdEf')])); // gone by then, if all is well
    const stray = startProcess(['sleep', '1000']);
    t.teardown(() => stray.stop());
    for (const group of groups) {
      mkdirSync(group, { recursive: true });
      if (!group.includes('/cpuset/')) writeFileSync(join(group, 'cgroup.procs'), String(stray.pid)); // a set of processors is empty at first and takes nobody
    }
    await driver.remove(id);
    t.match(await stray.exited, { code: undefined });
    t.same([state, ...groups].filter((path) => existsSync(path)), []);
  });

  await t.test('neighbours on the bridge do not reach each other', async (t) => {
    const other = { cluster: 'gvtestb2', node: 'n1' };
    await driver.define(definition(part('gvtestb2'), 'n1', '192.168.78.12', layers));
    await driver.start(other);
    t.match(await inNode('192.168.78.12', 'ping -c1 -W2 192.168.78.1 > /dev/null && echo gateway; ping -c1 -W1 192.168.78.11 > /dev/null || echo apart'), { stdout: 'gateway\napart\n' });
    await driver.remove(other);
    await driver.remove(other);
    t.equal((await driver.list()).length, 1);
  });

  await driver.remove(one);
  await t.test('what cannot work is said', async (t) => {
    const unplugged = new ContainerDriver({ transport, home, network: { bridge: 'gvbr7' } });
    await unplugged.define(definition(part('gvtesta1'), 'n1', '192.168.78.11', layers));
    t.match(await refusal(unplugged.start(one)), { kind: 'unavailable', message: /bridge gvbr7/ });
    await driver.remove(one);
    t.same(await traces(home, before), []);
    t.same(await network(transport), beforeNetwork);
  });
});
