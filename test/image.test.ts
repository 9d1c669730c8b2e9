/** Images: apt's output as values, and real builds with real apt and dpkg (root only; the base is cached between runs). */
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { failedPackage, isDiskFull, parsePlan, parseRefusal, parseNeeds, parseStatus, parseUris, StatusClock } from '../src/image/apt-output.js';
import { DebianBuilder } from '../src/image/builder.js';
import { sourcesFor } from '../src/image/apt-sources.js';
import type { Log } from '../src/log.js';
import { traces } from './support/leaks.js';
import { lendBase, quiet, testBase, testCache, whyNoImages, workshop } from './support/layers.js';
import { refusal } from './support/refusal.js';

// ---------------------------------------------------------------- text (captured: apt 2.6.2, dpkg 1.21.22)

t.test('apt-get --print-uris', async (t) => {
  const captured = `Reading package lists...
Building dependency tree...
The following NEW packages will be installed:
  libnginx-mod-http-echo nginx-light
Need to get 802 kB of archives.
'http://mirror.invalid/debian/pool/main/h/hello/hello_2.10-3_amd64.deb' hello_2.10-3_amd64.deb 53080 MD5Sum:d04c2e9639dee67aa836d8232b1ca658
'http://mirror.invalid/debian-security/pool/updates/main/n/nginx/nginx-light_1.22.1-9%2bdeb12u11_all.deb' nginx-light_1.22.1-9+deb12u11_all.deb 81844 
'http://mirror.invalid/debian/pool/main/libn/libnginx-mod-http-echo/libnginx-mod-http-echo_0.63-4_amd64.deb' libnginx-mod-http-echo_1%3a0.63-4_amd64.deb 18736 MD5Sum:6333ca96eda6b38a247b4f17521aa289
`;
  const found = parseUris(captured);
  t.same(found.map((entry) => entry.package), [
    { name: 'hello', version: '2.10-3', architecture: 'amd64', debBytes: 53080 },
    { name: 'nginx-light', version: '1.22.1-9+deb12u11', architecture: 'all', debBytes: 81844 },
    { name: 'libnginx-mod-http-echo', version: '1:0.63-4', architecture: 'amd64', debBytes: 18736 },
  ]);
  t.equal(found[2]?.file, 'libnginx-mod-http-echo_1%3a0.63-4_amd64.deb');
  t.throws(() => parseUris("'http://mirror.invalid/x' something else"), /unknown line/);
});

t.test('what packages need, from apt-cache show: alternatives, virtual packages, only what is there', async (t) => {
  const shown = 'Package: mpi\nVersion: 4\nPre-Depends: libc6 (>= 2.36)\nDepends: gcc | c-compiler, libnl:any (= 1), mail-agent, awk\n\nPackage: gcc-12\nProvides: c-compiler, gcc (= 12)\n\nPackage: libnl\nDepends: libnl\n\nPackage: mawk\nProvides: awk\n\nPackage: libnl\nDepends: mpi\n';
  t.same([...parseNeeds(shown)], [['mpi', ['gcc-12', 'libnl', 'mawk']], ['gcc-12', []], ['libnl', []], ['mawk', []]]);
  t.same([...parseNeeds('')], []);
});

t.test('why apt refuses', async (t) => {
  t.same(parseRefusal('', 'E: Unable to locate package helo\nE: Unable to locate package wrld\n'), { kind: 'unknown', names: ['helo', 'wrld'] });
  t.same(parseRefusal('', "E: Version '1' for 'hello' was not found\n"), { kind: 'version', text: "Version '1' for 'hello' was not found" });
  const virtual = `Package mail-transport-agent is a virtual package provided by:
  ssmtp 2.64-11
  nullmailer 1:2.2-4

`;
  t.same(parseRefusal(virtual, "E: Package 'mail-transport-agent' has no installation candidate\n"), { kind: 'virtual', name: 'mail-transport-agent', providers: ['ssmtp', 'nullmailer'] });
  const conflict = `The following information may help to resolve the situation:

The following packages have unmet dependencies:
 exim4-config : Conflicts: postfix but 3.7.11-0+deb12u1 is to be installed
 postfix : Conflicts: mail-transport-agent
`;
  t.same(parseRefusal(conflict, 'E: Unable to correct problems, you have held broken packages.\n'), { kind: 'conflict', text: 'exim4-config : Conflicts: postfix but 3.7.11-0+deb12u1 is to be installed; postfix : Conflicts: mail-transport-agent' });
  t.same(parseRefusal('', 'E: Something new\n'), { kind: 'other', text: 'Something new' });
});

t.test("apt's plan: the dpkg commands that it would run", async (t) => {
  const captured = `/usr/bin/dpkg --status-fd 11 --no-triggers --unpack --auto-deconfigure /h/plan-debs/libexpat1_2.5.0-1+deb12u5_amd64.deb /h/plan-debs/python3.11-minimal_3.11.2-6%2b1_amd64.deb 
/usr/bin/dpkg --status-fd 11 --no-triggers --configure libexpat1:amd64 python3.11-minimal:amd64 
/usr/bin/dpkg --status-fd 11 --configure --pending 
`;
  t.same(parsePlan(captured), [
    { verb: 'unpack', files: ['libexpat1_2.5.0-1+deb12u5_amd64.deb', 'python3.11-minimal_3.11.2-6%2b1_amd64.deb'] },
    { verb: 'configure', names: ['libexpat1:amd64', 'python3.11-minimal:amd64'] },
    { verb: 'finish' },
  ]);
  t.throws(() => parsePlan('/usr/bin/dpkg --status-fd 11 --force-depends --remove x \n'), /unknown dpkg command/);
  t.throws(() => parsePlan('/usr/bin/dpkg --status-fd 11 --no-triggers --configure $(x) \n'), /unknown dpkg command/);
});

t.test("dpkg's status lines", async (t) => {
  const captured: [number, string][] = [
    [2, 'processing: install: cron'], // it was there since 1.5, and dpkg since 1
    [2.25, 'status: cron: half-installed'],
    [3, 'status: cron: unpacked'],
    [6, 'processing: install: nginx:amd64'], // it came at 5
    [6.5, 'status: nginx:amd64: unpacked'],
    [6.75, 'processing: configure: nginx:amd64'],
    [6.75, 'status: nginx:amd64: half-configured'],
    [7.5, 'status: nginx:amd64: installed'],
    [9, 'processing: trigproc: runit:amd64'],
    [9.5, 'status: runit:amd64: installed'],
  ];
  const arrivals: Record<string, number> = { cron: 1.5, nginx: 5 };
  const clock = new StatusClock(1, (name) => arrivals[name]);
  const fresh = captured.flatMap(([at, line]) => clock.line(line, at) ?? []);
  t.same(clock.end(20), [
    { package: 'cron', phase: 'unpack', seconds: 1.5 },
    { package: 'nginx', phase: 'unpack', seconds: 1.5 },
    { package: 'nginx', phase: 'configure', seconds: 1 },
    { package: 'runit', phase: 'trigger', seconds: 2 },
  ]);
  t.equal(clock.blocked, 2.5, 'time in which a package had not come is nobody\'s');
  t.same(fresh.map((step) => `${step.phase} ${step.package}`), ['unpack cron', 'unpack nginx', 'configure nginx', 'trigger runit']);
  t.equal(parseStatus('status: cron : error : subprocess returned error exit status 1', undefined), undefined);
});

t.test('dpkg failures', async (t) => {
  t.equal(failedPackage('dpkg: error processing package gv-bad (--configure):\n installed gv-bad package post-installation script subprocess returned error exit status 1\nErrors were encountered while processing:\n gv-bad\n'), 'gv-bad');
  t.equal(failedPackage('dpkg: error processing archive /run/debs/cpp-12_12.2.0_amd64.deb (--unpack):\n cannot copy'), 'cpp-12');
  t.equal(failedPackage('fine'), undefined);
  t.ok(isDiskFull("tar: ./x: Cannot write: No space left on device"));
});

t.test('apt sources of one release', async (t) => {
  const deb822 = `Types: deb deb-src
# a comment
URIs: http://mirror.invalid/debian
Suites: bookworm bookworm-updates trixie
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Types: deb
URIs: http://other.invalid/x
Suites: nodistro
Components: main

Enabled: no
Types: deb
URIs: http://mirror.invalid/off
Suites: bookworm
Components: main
`;
  const lines = '# off\ndeb [signed-by=/k.gpg arch=amd64] http://mirror.invalid/debian-security bookworm-security main # on\ndeb-src http://mirror.invalid/debian bookworm main\ndeb http://x.invalid sid main\ndeb [trusted=yes] file:/srv/repo ./\n';
  const found = sourcesFor([{ name: 'a.sources', text: deb822 }, { name: 'sources.list', text: lines }], 'bookworm');
  t.match(found.stanzas, /^types: deb\nuris: http:\/\/mirror.invalid\/debian\nsuites: bookworm bookworm-updates\ncomponents: main\nsigned-by: \n -----BEGIN/);
  t.notMatch(found.stanzas, /other|off/);
  t.equal(found.lines, 'deb [signed-by=/k.gpg arch=amd64] http://mirror.invalid/debian-security bookworm-security main\ndeb [trusted=yes] file:/srv/repo ./\n');
});

// ---------------------------------------------------------------- real builds

t.setTimeout(900_000);
const skip = whyNoImages() ?? false;
const scratch = skip ? '' : mkdtempSync('/var/tmp/gridvc-image-');
t.teardown(() => scratch && rmSync(scratch, { recursive: true, force: true }));

t.test('a base and what apt says over it', { skip, timeout: 600_000 }, async (t) => {
  const base = await testBase();
  const { store, catalogue } = workshop(testCache);
  const listed = execFileSync('unsquashfs', ['-lls', store.path(base.digest)], { encoding: 'utf8', maxBuffer: 1 << 26 });
  t.match(listed, /-rwxr-xr-x root\/root .* squashfs-root\/usr\/lib\/gridvc\/init\n/);
  t.match(listed, /squashfs-root\/home\/grid\/\.bashrc/);
  t.same(listed.split('\n').filter((line) => /ssh_host_|sbin\/policy-rc\.d$|99mmdebstrap|etc\/resolv\.conf$/.test(line)), [], 'nothing of the build or of this machine');
  t.match(listed, / 0 \S+ \S+ squashfs-root\/etc\/machine-id\n/, 'machine-id is empty');
  t.match(listed, /squashfs-root\/usr\/share\/man\/man1\n/, 'packages that link manual pages (Java) find their directory');

  await catalogue.update('bookworm', 24 * 3600);
  const first = await catalogue.resolve('bookworm', base, ['hello', 'cron']);
  t.same(first.asked, ['cron', 'hello']);
  t.same(first.packages.map((entry) => entry.name), ['cron', 'cron-daemon-common', 'hello']);
  const begun = performance.now();
  const again = await catalogue.resolve('bookworm', base, ['cron', 'hello', 'cron']);
  t.ok(performance.now() - begun < 5, 'a repeated question is answered from memory');
  t.equal(again.key, first.key);
  t.same((await catalogue.resolve('bookworm', base, ['openssh-server'])).packages, [], 'nothing to add');

  const unknown = await refusal(catalogue.resolve('bookworm', base, ['helo', 'nginx-lite', 'cron']));
  t.match(unknown, { kind: 'bad-request', message: /unknown packages helo, nginx-lite/, hint: /hello.*nginx-light/ });
  t.match(await refusal(catalogue.resolve('bookworm', base, ['postfix', 'exim4-daemon-light'])), { kind: 'bad-request', message: /Conflicts: postfix/ });
  t.match(await refusal(catalogue.resolve('bookworm', base, ['c.e'])), { kind: 'bad-request', message: /unknown package c\.e/ }, 'a name is no regular expression');
  t.match(await refusal(catalogue.resolve('bookworm', base, ['vim-'])), { kind: 'bad-request' }, 'a name is no removal');
  t.match(await refusal(catalogue.resolve('bookworm', base, ['mail-transport-agent'])), { kind: 'bad-request', hint: /postfix/ });
  t.match(await refusal(catalogue.resolve('bookworm', base, ['-o=x'])), { kind: 'bad-request' });
  t.match(await refusal(catalogue.resolve('sid', base, ['hello'])), { kind: 'bad-request', hint: /bookworm/ });
});

t.test('a delta: daemons installed, none started', { skip, timeout: 300_000 }, async (t) => {
  const base = await testBase();
  const home = join(scratch, 'delta');
  lendBase(base, home);
  const { store } = workshop(home);
  const { catalogue } = workshop(testCache);
  const builder = new DebianBuilder(store, catalogue);
  mkdirSync(store.staging);
  const resolution = await catalogue.resolve('bookworm', base, ['hello', 'cron', 'nginx-light']);
  const before = await traces(home);
  const lines: string[] = [];
  const built = await builder.delta(resolution, base, { signal: new AbortController().signal, progress: (stage, text) => lines.push(`${stage}: ${text}`) });
  t.same(built.stages.map((entry) => entry.stage), ['download', 'install', 'pack']);
  t.ok(built.stages.every((entry) => entry.seconds >= 0 && entry.bytes > 0 && entry.items === resolution.packages.length));
  t.ok(lines.some((line) => /^install: \d+% configure cron$/.test(line)), 'progress names packages');
  const install = built.stages[1]?.seconds ?? 0;
  const sum = built.packages.reduce((total, entry) => total + entry.seconds, 0);
  t.ok(sum > 0.1 * install && sum <= install, `package timings (${sum.toFixed(2)} s) are a part of the stage (${install.toFixed(2)} s)`);
  const cron = built.packages.find((entry) => entry.package === 'cron' && entry.phase === 'unpack');
  t.ok(cron && cron.files > 10 && cron.bytes > 10_000 && cron.version !== '');
  const listed = execFileSync('unsquashfs', ['-l', store.path(built.layer.digest)], { encoding: 'utf8' });
  t.match(listed, /squashfs-root\/usr\/bin\/hello\n/);
  t.match(listed, /squashfs-root\/etc\/rc2\.d\/S\d\dcron\n/, 'to be started at boot');
  t.notMatch(listed, /\.deb\n|policy-rc\.d|crond\.pid|pkgcache|nginx\.pid/, 'no daemon ran, nothing of the build is left');
  t.equal(await builder.has(built.layer.digest), true);
  t.equal(createHash('sha256').update(readFileSync(store.path(built.layer.digest))).digest('hex'), built.layer.digest);
  t.same((await traces(home, [...before, ...['sqfs', 'json', 'status'].map((kind) => `file layers/${built.layer.digest}.${kind}`)])), [], 'nothing else is left');

  const tree = (digest: string): string[] => execFileSync('unsquashfs', ['-lls', store.path(digest)], { encoding: 'utf8', maxBuffer: 1 << 26 }).split('\n').filter((line) => !/(var\/log|var\/cache|backups|dpkg\/status)/.test(line)).map((line) => line.replace(/ \d{4}-\d\d-\d\d \d\d:\d\d /, ' ').replace(/^(d\S+ +\S+) +\d+/, '$1')).sort();
  const inMemory = tree(built.layer.digest);
  await builder.remove(built.layer.digest);
  t.equal(await builder.has(built.layer.digest), false);
  const onDisk = await new DebianBuilder(store, catalogue, { memory: 0 }).delta(resolution, base, quiet());
  t.same(tree(onDisk.layer.digest), inMemory, 'a head with little memory works on its disk, with the same result');
  await builder.remove(onDisk.layer.digest);
  t.same(await traces(home, before), []);
});

/** A flat repository with one .deb whose postinst is given. */
function localRepository(dir: string, name: string, postinst: string): void {
  const tree = join(dir, name);
  mkdirSync(join(tree, 'DEBIAN'), { recursive: true });
  mkdirSync(join(tree, 'usr/share', name), { recursive: true });
  writeFileSync(join(tree, 'usr/share', name, 'here'), 'x\n');
  const control = `Package: ${name}\nVersion: 1.0\nArchitecture: all\nMaintainer: test <test@invalid>\nDescription: test\n`;
  writeFileSync(join(tree, 'DEBIAN/control'), control);
  writeFileSync(join(tree, 'DEBIAN/postinst'), `#!/bin/sh\n${postinst}\n`, { mode: 0o755 });
  execFileSync('dpkg-deb', ['--root-owner-group', '-b', tree, join(dir, `${name}.deb`)], { stdio: 'ignore' });
  rmSync(tree, { recursive: true });
  const bytes = readFileSync(join(dir, `${name}.deb`));
  const index = `${control}Filename: ./${name}.deb\nSize: ${bytes.length}\nSHA256: ${createHash('sha256').update(bytes).digest('hex')}\n\n`;
  writeFileSync(join(dir, 'Packages'), (existsSync(join(dir, 'Packages')) ? readFileSync(join(dir, 'Packages'), 'utf8') : '') + index);
}

t.test('a maintainer script that fails', { skip, timeout: 300_000 }, async (t) => {
  const base = await testBase();
  const home = join(scratch, 'bad');
  lendBase(base, home);
  const repository = join(scratch, 'repo');
  mkdirSync(repository);
  localRepository(repository, 'gv-bad', 'echo about to fail >&2\nexit 7');
  localRepository(repository, 'gv-good', 'exit 0');
  localRepository(repository, 'gv-slow', 'sleep 30');
  localRepository(repository, 'gv-fat', 'head -c 1500M /dev/zero > /var/lib/gv-fat');
  const sources = join(scratch, 'test.list');
  writeFileSync(sources, `deb [trusted=yes] file:${repository} ./\n`);
  const { catalogue, builder, store } = workshop(home, { sources });
  await catalogue.update('bookworm', 0);
  mkdirSync(store.staging);
  const before = await traces(home);
  const failure = await refusal(builder.delta(await catalogue.resolve('bookworm', base, ['gv-bad']), base, quiet()));
  t.match(failure, { kind: 'build-failed', message: /package gv-bad failed to install/, hint: /gv-bad/ });
  t.match(failure.message, /about to fail/, 'the log ends with what the script said');
  t.same(await traces(home, before), [], 'nothing is left');

  const good = await builder.delta(await catalogue.resolve('bookworm', base, ['gv-good']), base, quiet());
  t.match(execFileSync('unsquashfs', ['-l', store.path(good.layer.digest)], { encoding: 'utf8' }), /usr\/share\/gv-good\/here/, 'a file: source is used');
  await builder.remove(good.layer.digest);

  const fat = await catalogue.resolve('bookworm', base, ['gv-fat']);
  const memory = (128 << 20) + 12 * (base.bytes + (fat.packages[0]?.debBytes ?? 0));
  const warnings: string[] = [];
  const log = { warn: (_: unknown, text: string) => warnings.push(text) } as unknown as Log;
  const grown = await new DebianBuilder(store, catalogue, { log, memory }).delta(fat, base, quiet());
  t.match(warnings, [/did not fit into its memory/]);
  t.match(execFileSync('unsquashfs', ['-lls', store.path(grown.layer.digest)], { encoding: 'utf8' }), / 1572864000 .* squashfs-root\/var\/lib\/gv-fat\n/, 'what outgrows its memory is built on the disk');
  await builder.remove(grown.layer.digest);
  t.same(await traces(home, before), []);

  const stop = new AbortController();
  const slow = builder.delta(await catalogue.resolve('bookworm', base, ['gv-slow']), base, { signal: stop.signal, progress: (_, text) => text.includes('configure gv-slow') && setTimeout(() => stop.abort(), 100) });
  t.match(await refusal(slow), { kind: 'interrupted' });
  t.same(await traces(home, before), [], 'an abort in the middle leaves no mount, process, loop device or file');

  mkdirSync(join(store.staging, 'delta-0123'), { recursive: true });
  writeFileSync(join(store.staging, 'delta-0123', 'layer.sqfs'), 'half');
  await builder.recover();
  t.same(readdirSync(store.staging), [], 'recover() removes what a killed build left');
});

t.test('an aborted base', { skip, timeout: 120_000 }, async (t) => {
  const home = join(scratch, 'abort');
  const { catalogue, builder } = workshop(home);
  await catalogue.root('bookworm').prepare();
  mkdirSync(join(home, 'staging'), { recursive: true });
  const before = await traces(home);
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 4000).unref();
  t.match(await refusal(builder.base('bookworm', quiet(stop.signal))), { kind: 'interrupted' });
  t.same(await traces(home, before), []);
});

t.test('a full disk', { skip, timeout: 300_000 }, async (t) => {
  const base = await testBase();
  const { catalogue } = workshop(testCache);
  const home = join(scratch, 'small');
  const megabytes = Math.ceil(base.bytes / 1e6) + 30;
  mkdirSync(home);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', home]);
  t.teardown(() => execFileSync('umount', [home]));
  lendBase(base, home);
  const { store } = workshop(home);
  // The small home's store with the cache's apt: only the build itself meets the full disk.
  const builder = new DebianBuilder(store, catalogue);
  mkdirSync(store.staging);
  const before = await traces(home);
  const resolution = await catalogue.resolve('bookworm', base, ['libllvm15']);
  const failure = await refusal(builder.delta(resolution, base, quiet()));
  t.match(failure, { kind: 'disk-full', message: new RegExp(`${home}/staging \\(\\d+ bytes free\\)`) });
  t.same(await traces(home, before), []);
  t.ok(statSync(store.path(base.digest)).size === base.bytes);
});
