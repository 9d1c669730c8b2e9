/** Xen without a Xen: what xl prints of six versions, domain configurations, kernels as layers. Real domains: npm run test:xen. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import type { NodeDefinition } from '../src/domain/node.js';
import { domainConfig } from '../src/hypervisor/xen-config.js';
import { createFailure, ourDomains, parseCheck, parseDomains, parseInfo, parseList } from '../src/hypervisor/xen-output.js';
import { blockScript, vifScript, xenScript } from '../src/hypervisor/xen-script.js';
import { cpio } from '../src/image/cpio.js';
import { loadOrder } from '../src/image/kernel-modules.js';
import { bootScript } from '../src/node/boot.js';
import { testKernel, testKernelPath, whyNoImages, workshop } from './support/layers.js';
import { traces } from './support/leaks.js';

const captured = (name: string): string => readFileSync(join(import.meta.dirname, '..', '..', 'test/data/xen', name), 'utf8');

t.test('xl info of Xen 4.14 to 4.20', async (t) => {
  const said = (name: string): unknown => {
    const { version, processors, memory, types } = parseInfo(captured(name));
    return [version.text, processors, memory.total, memory.free, types.join()];
  };
  t.same(said('info-4.14.0.txt'), ['4.14.0', 8, 30439, 6644, 'pv,pvh']);
  t.same(said('info-4.14.5-no-hvm.txt'), ['4.14.5.24.g87d90d51', 4, 7891, 3703, 'pv'], 'no hardware virtualization: PV only');
  t.same(said('info-4.15.txt'), ['4.15-unstable', 4, 16292, 4687, 'pv,pvh']);
  t.same(said('info-4.17.4-debian12.txt'), ['4.17.4-pre', 2, 4063, 2995, 'pv,pvh']);
  t.same(said('info-4.17.7-bed.txt'), ['4.17.7', 2, 1535, 876, 'pv']);
  t.same(said('info-4.19.1.txt'), ['4.19.1', 12, 7933, 2341, 'pv,pvh']);
  t.same(said('info-4.20.1.txt'), ['4.20.1_02-1', 24, 32677, 28057, 'pv,pvh']);
  const info = captured('info-4.17.4-debian12.txt');
  t.throws(() => parseInfo(info.replace(/^free_memory.*\n/m, '')), /xl info does not tell free_memory/);
  t.throws(() => parseInfo(info.replace(/^nr_cpus.*$/m, 'nr_cpus                : two')), /nr_cpus as "two"/);
  t.throws(() => parseInfo(`${info}ERROR: something\n`), /unknown line from xl info: ERROR/);
});

t.test('xl list: names of all kinds, states that mean something, nothing guessed', async (t) => {
  t.same(parseDomains(captured('list-4.14.txt')), [{ name: 'Domain-0', number: 0, memory: 1152, state: 'running' }, { name: 'freebsd', number: 1, memory: 1152, state: 'running' }]);
  t.same(parseDomains(captured('list-half-made.txt')).map(({ name, state }) => `${name} ${state}`), ['Domain-0 running', 'api-1 running', 'api-2 paused', 'api-3 running']);
  const head = `${captured('list-4.14.txt').split('\n')[0]}\n`;
  const line = (name: string, letters: string): string => `${name.padEnd(40)} ${'7'.padStart(5)} ${'64'.padStart(5)} ${'1'.padStart(5)}     ${letters}  ${'3.1'.padStart(8)}\n`;
  const states: Record<string, string> = { 'r-----': 'running', '-b----': 'running', '------': 'running', '--p---': 'paused', '---s--': 'ended', '---sc-': 'crashed', '----c-': 'crashed', '--ps-d': 'dying' };
  for (const [letters, state] of Object.entries(states)) t.equal(parseDomains(head + line('x', letters))[0]?.state, state, letters);
  for (const letters of ['--q---', 'br----', '-----', 'rbpscd-']) t.throws(() => parseDomains(head + line('x', letters)), /unknown line from xl list/);
  t.throws(() => parseDomains('Cannot open xl\n'), /unknown headline/);
  t.equal(parseDomains(head + line('a domain of somebody else, with a name longer than any column', 'r-----'))[0]?.name, 'a domain of somebody else, with a name longer than any column');
  fc.assert(fc.property(fc.stringMatching(/^[!-~]([ -~]{0,60}[!-~])?$/), fc.nat(65535), fc.nat(9_000_000), fc.constantFrom(...Object.keys(states)), (name, number, memory, letters) => {
    const text = `${name.padEnd(40)} ${String(number).padStart(5)} ${String(memory).padStart(5)} ${'12'.padStart(5)}     ${letters}  ${'99999.9'.padStart(8)}\n`;
    t.same(parseDomains(head + text), [{ name, number, memory, state: states[letters] }]);
  }), { numRuns: 200 });
  fc.assert(fc.property(fc.string(), (text) => {
    try {
      parseDomains(head + text);
      parseInfo(text);
    } catch (error) {
      t.match(error, { message: /unknown|does not tell|no number/ });
    }
  }));
});

t.test('two heads on one dom0: each sees its own domains only', async (t) => {
  const head = `${captured('list-4.14.txt').split('\n')[0]}\n`;
  const line = (name: string): string => `${name.padEnd(40)}     7    64     1     r-----       3.1\n`;
  const all = parseDomains(head + ['gv-alpha-1-k3x9q2ab-n1', 'gv-alpha-k3x9q2ac-n2', 'gv-alpha-1-k3x9q2ab-n1-x', 'gv-alpha-1-K3X9Q2AB-n1', 'alpha-1-k3x9q2ab-n1', 'gv-alpha-1-k3x9q2ab-n0'].map(line).join(''));
  t.same(ourDomains(all, 'alpha-1').map(({ id }) => id), [{ cluster: 'k3x9q2ab', node: 'n1' }]);
  t.same(ourDomains(all, 'alpha').map(({ id }) => id), [{ cluster: 'k3x9q2ac', node: 'n2' }]);
  t.same(ourDomains(all, 'beta'), []);
});

t.test('what the host tells becomes states of nodes', async (t) => {
  const list = (nodes: string): unknown => parseList(`${nodes}domains\n${captured('list-4.17.7-ours.txt')}`, 'alpha-000000').map(({ id, state }) => `${id.node} ${state}`);
  t.same(list('node gvtesta1-n1 started\n'), ['n1 stopped'], 'a domain that has ended by itself');
  t.same(list('node gvtesta1-n1 defined\n'), ['n1 defined'], 'half made');
  t.same(list('node gvtesta1-n1 started\nnode gvtesta1-n2 started\nnode gvtesta1-n3 defined\n'), ['n1 stopped', 'n2 stopped', 'n3 defined'], 'without a domain: dom0 was rebooted');
  t.same(list(''), ['n1 defined'], 'a domain without a directory is listed, so that it can be removed');
  t.throws(() => list('node ../etc started\n'), /unknown line from the host/);
  t.throws(() => parseList('node gvtesta1-n1 started\n', 'alpha'), /no line "domains"/);
});

t.test('a check says what is missing, and the command that mends it', async (t) => {
  const programs = ['xl', 'xenstore-read', 'xenstore-write', 'ip', 'mount', 'losetup', 'mkfs.ext4', 'flock', 'dd', 'truncate', 'squashfs', 'ext4', 'blkback', 'netback', 'loop', 'bridge', 'root', 'xenstore', 'xenconsoled'];
  const answer = (without: string, info: string, list = captured('list-4.17.7-ours.txt'), disk = 9000): string => `${programs.filter((name) => name !== without).map((name) => `has ${name}\n`).join('')}disk ${disk}\ninfo\n${info}domains\n${list}`;
  const options = { bridge: 'xenbr0', owner: 'alpha-000000' };
  const bed = captured('info-4.17.7-bed.txt');
  t.match(parseCheck(answer('', bed), options), { ok: true, problems: [], memory: Math.floor((876 + 192) * 0.97), disk: 9000, vcpus: 2, type: 'pv', about: 'Xen 4.17.7, PV domains, dom0 kernel 6.1.0-56-amd64' }, 'free memory and what our own nodes have');
  t.equal(parseCheck(answer('', captured('info-4.20.1.txt')), options).type, 'pv', 'PV first');
  t.equal(parseCheck(answer('', captured('info-4.20.1.txt')), { ...options, wanted: 'pvh' }).type, 'pvh');
  t.match(parseCheck(answer('', bed), { ...options, wanted: 'pvh' }).problems, [/no hardware virtualization for PVH/]);
  const missing: Record<string, RegExp> = { bridge: /bridge xenbr0 is missing: ip link add xenbr0 type bridge/, loop: /no loop devices.*modprobe loop/, blkback: /modprobe xen-blkback/, xenconsoled: /systemctl restart xen/, squashfs: /modprobe squashfs/, flock: /apt-get install util-linux/ };
  for (const [what, remedy] of Object.entries(missing)) t.match(parseCheck(answer(what, bed), options), { ok: false, problems: [remedy] }, what);
  t.match(parseCheck(answer('xl', '', ''), options).problems, [/xl is missing: apt-get install xen-system-amd64/, /does not run on Xen/]);
  t.match(parseCheck(answer('', bed.replace(/xen_minor .*/, 'xen_minor              : 11').replace('4.17.7', '4.11.4')), options).problems, [/Xen 4.11.4 is too old; 4.14 is the oldest/]);
  t.match(parseCheck(answer('', bed.replace(/free_memory .*/, 'free_memory            : 4'), captured('list-4.14.txt')), options).problems, [/only 4 MiB of memory are free.*dom0_mem=/]);
  t.match(parseCheck(answer('', bed, undefined, 100), options).problems, [/only 100 MiB are free/]);
  t.throws(() => parseCheck(`has something\n${answer('', bed)}`, options), /unknown line from the host check/);
});

t.test('why xl create failed', async (t) => {
  t.same(createFailure('failed to free memory for the domain\n'), { memory: true, text: 'failed to free memory for the domain' });
  t.match(createFailure('xc: error: panic: xg_dom_boot.c:119: xc_dom_boot_mem_init: can\'t allocate low memory for domain: Out of memory\nlibxl: error: libxl_dom.c:593:libxl__build_dom: xc_dom_boot_mem_init failed: Operation not supported\n'), { memory: true, text: /can't allocate low memory/ });
  t.match(createFailure('libxl: error: libxl_exec.c:117:libxl_report_child_exitstatus: /x/bin/vif-1.sh online [1234] exited with error status 1\nlibxl: error: libxl_device.c:1335:device_hotplug_child_death_cb: script: gridvc: vif3.0 cannot be put on bridge gvbr7\n'), { memory: false, text: /exited with error status 1|cannot be put/ });
  t.match(createFailure(''), { memory: false, text: 'xl create said nothing' });
});

const node: NodeDefinition = { id: { cluster: 'k3x9q2ab', node: 'n1' }, memory: 320, disk: 1600, vcpus: 2, layers: ['a'.repeat(64), 'b'.repeat(64)], kernel: 'c'.repeat(64), network: { address: '10.77.0.101/24', gateway: '10.77.0.1' }, context: [] };
const place = { name: 'gv-alpha-1-k3x9q2ab-n1', home: '/var/lib/gridvc/nodes', bridge: 'xenbr0', vifScript: '/var/lib/gridvc/nodes/bin/vif-1.sh', type: 'pv' as const };

t.test("a domain's configuration comes from typed data only", async (t) => {
  t.equal(domainConfig(node, place), `name = "gv-alpha-1-k3x9q2ab-n1"
type = "pv"
kernel = "/var/lib/gridvc/nodes/mnt/${'c'.repeat(64)}/boot/vmlinux"
ramdisk = "/var/lib/gridvc/nodes/mnt/${'c'.repeat(64)}/boot/initrd"
cmdline = "console=hvc0 quiet net.ifnames=0 gridvc.layers=xvdb,xvdc,xvdd gridvc.disk=xvda gridvc.address=10.77.0.101/24 gridvc.gateway=10.77.0.1 gridvc.name=n1"
memory = 320
maxmem = 320
vcpus = 2
on_poweroff = "preserve"
on_reboot = "preserve"
on_crash = "preserve"
on_watchdog = "preserve"
vif = [ 'mac=02:67:0a:4d:00:65,bridge=xenbr0,script=/var/lib/gridvc/nodes/bin/vif-1.sh' ]
`);
  t.throws(() => domainConfig({ ...node, memory: 64 }, place), { kind: 'bad-request', message: /64 MiB memory is too little.*128/ });
  t.throws(() => domainConfig({ ...node, layers: Array.from({ length: 25 }, () => 'a'.repeat(64)) }, place), { kind: 'bad-request', message: /25 layers/ });
  const evil = fc.string({ minLength: 1 }).map((text) => `${text}"\nkernel = "/etc/shadow`);
  fc.assert(fc.property(evil, (text) => {
    for (const bad of [{ ...node, id: { cluster: 'k3x9q2ab', node: text } }, { ...node, network: { ...node.network, address: text } }, { ...node, network: { ...node.network, gateway: text } }, { ...node, kernel: text }]) t.throws(() => domainConfig(bad, place), /is not/);
  }), { numRuns: 50 });
});

t.test('scripts are POSIX shell', async (t) => {
  for (const [name, text] of Object.entries({ xenScript, vifScript, blockScript, bootScript })) t.equal(spawnSync('dash', ['-n'], { input: text, encoding: 'utf8' }).stderr, '', name);
});

t.test('modules in the order in which they can be loaded', async (t) => {
  const dep = 'kernel/fs/ext4/ext4.ko: kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko\nkernel/fs/jbd2/jbd2.ko:\nkernel/fs/mbcache.ko:\nkernel/lib/crc16.ko:\nkernel/drivers/block/xen-blkfront.ko.xz:\nkernel/drivers/net/xen-netfront.ko:\nkernel/fs/squashfs/squashfs.ko:\nkernel/drivers/net/tun.ko:\n';
  const order = loadOrder(dep, 'kernel/fs/overlayfs/overlay.ko\n');
  t.ok(order.indexOf('kernel/fs/mbcache.ko') < order.indexOf('kernel/fs/ext4/ext4.ko') && order.includes('kernel/drivers/block/xen-blkfront.ko.xz'));
  t.throws(() => loadOrder(dep, ''), { kind: 'build-failed', message: /no module overlay/ }, 'neither a module nor built in');
});

const why = whyNoImages() ?? (spawnSync('sh', ['-c', 'command -v depmod && command -v cpio']).status === 0 ? undefined : 'depmod or cpio is not installed (gridvc doctor)');
t.test('a real kernel as a layer', { skip: why ?? false, timeout: 600_000 }, async (t) => {
  const kernel = await testKernel();
  const dir = mkdtempSync(join(tmpdir(), 'gridvc-kernel-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  execFileSync('unsquashfs', ['-q', '-n', '-d', join(dir, 'k'), testKernelPath(kernel), '/boot', '/usr/lib/gridvc'], { stdio: 'ignore' });
  const vmlinux = readFileSync(join(dir, 'k/boot/vmlinux'));
  t.equal(vmlinux.readUInt32BE(0), 0x7f454c46, 'an ELF file, as the domain builder likes it');
  t.ok(vmlinux.includes('Xen\0'), 'with the notes that Xen looks for');
  t.match(readFileSync(join(dir, 'k/usr/lib/gridvc/poweroff'), 'utf8'), /sysrq-trigger/);
  // the archive is read by a program that is not ours
  const listed = execFileSync('cpio', ['-t', '--quiet'], { input: readFileSync(join(dir, 'k/boot/initrd')), encoding: 'utf8' }).split('\n');
  for (const path of ['init', 'bin/sh', 'bin/busybox', 'modules/order', 'modules/xen-blkfront.ko', 'modules/overlay.ko', 'dev']) t.ok(listed.includes(path), path);
  t.ok(kernel.bytes < 60e6, `${(kernel.bytes / 1e6).toFixed(1)} MB`);
  t.equal((await testKernel()).digest, kernel.digest, 'made once');
});

t.test('kill -9 in each step of preparing a kernel', { skip: why ?? false, timeout: 300_000 }, async (t) => {
  await testKernel(); // lists are there
  const home = mkdtempSync('/var/tmp/gridvc-kernel-');
  t.teardown(() => rmSync(home, { recursive: true, force: true }));
  const { store, builder } = workshop(home);
  mkdirSync(store.staging);
  mkdirSync(store.layers);
  const module = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  const head = `import { quiet, testCache, workshop } from ${module('./support/layers.js')};
    import { DebianKernels } from ${module('../src/image/kernel.js')};
    await new DebianKernels(workshop(${JSON.stringify(home)}).store, workshop(testCache).catalogue).build('bookworm', quiet());`;
  const steps = { fetching: 'debs', unpacking: 'kernel', 'choosing modules': 'tree/usr/lib/modules', packing: 'layer.sqfs' };
  for (const [step, sign] of Object.entries(steps)) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', head], { stdio: 'ignore' });
    const stages = (): string[] => readdirSync(store.staging);
    while (child.exitCode === null && !stages().some((name) => existsSync(join(store.staging, name, sign)))) await pause(10);
    child.kill('SIGKILL');
    t.same((await traces(store.staging, ['nothing'])).filter((line) => !line.startsWith('file ')), [], `${step}: no process, mount or loop device`);
    t.equal(stages().length, 1, 'half of it lies there');
    await builder.recover(); // as a head does at its start
    t.same([...stages(), ...readdirSync(store.layers)], [], 'and is cleared');
  }
});

t.test('cpio: names and contents of every length', async (t) => {
  fc.assert(fc.property(fc.array(fc.tuple(fc.stringMatching(/^[a-z]{1,9}$/), fc.uint8Array({ maxLength: 50 })), { maxLength: 5 }), (files) => {
    const archive = cpio(files.map(([path, bytes]) => ({ path, mode: 0o644, content: { kind: 'file', bytes } })));
    t.equal(archive.length % 4, 0);
    t.ok(archive.subarray(-124).includes('TRAILER!!!'));
  }));
});
