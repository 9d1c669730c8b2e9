/** Commands here and on hosts: one contract of transports over this machine and a real sshd, and layers on their way. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import ssh2 from 'ssh2';
import t from 'tap';
import type { Layer } from '../src/domain/image.js';
import { DirectDistributor } from '../src/distribute/direct.js';
import { isKnown, knownKeys } from '../src/node/known-hosts.js';
import { LocalTransport } from '../src/node/local.js';
import { quoteCommand } from '../src/node/quote.js';
import { SshTransport } from '../src/node/ssh.js';
import type { NodeTransport } from '../src/ports.js';
import { isAlive, openStream, runCommand, spawnDaemon, startProcess, stopDaemon } from '../src/proc/command.js';
import { refusal } from './support/refusal.js';
import { startSshd } from './support/sshd.js';

t.setTimeout(600_000);
const scratch = mkdtempSync('/var/tmp/gridvc-transport-');
t.teardown(() => rmSync(scratch, { recursive: true, force: true }));
const sleep = (ms: number): Promise<void> => new Promise((wake) => setTimeout(wake, ms));

/** Processes whose command line has this word. */
function running(word: string): number {
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(word);
    } catch {
      return false;
    }
  }).length;
}

// ---------------------------------------------------------------- commands

t.test('a command is a value', async (t) => {
  t.match(await runCommand(['sh', '-c', 'echo out; echo err >&2; exit 3']), { code: 3, stdout: 'out\n', stderr: 'err\n', reason: 'sh ended with code 3: err' });
  t.match(await runCommand(['true']), { code: 0, reason: '' });
  t.match(await runCommand(['no-such-program']), { code: 127, reason: /no such program/ });
  t.match(await runCommand(['sh', '-c', 'kill -9 $$']), { code: undefined, reason: /SIGKILL/ });
  t.match(await runCommand(['env'], { env: { A: 'b' } }), { stdout: /^PATH=\/usr\/local\/sbin.*\nLC_ALL=C\n(.*\n)*A=b\n/ });
  t.match(await runCommand(['cat'], { input: 'x'.repeat(100_000) }), { code: 0, stdout: /^x{100000}$/ });
  t.match(await runCommand(['true'], { input: randomBytes(1 << 20) }), { code: 0 }, 'input that nobody reads');
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('half');
    throw new Error('the source broke');
  }
  t.match(await runCommand(['cat'], { input: broken() }), { code: undefined, reason: /the source broke/ });
  const big = await runCommand(['sh', '-c', 'yes first | head -c 20000000; echo last']);
  t.ok(big.stdout.length < 9 << 20 && big.stdout.startsWith('first') && big.stdout.endsWith('last\n') && big.stdout.includes('bytes left out'), 'output is bounded, head and tail kept');
  t.match(await refusal(runCommand(['echo', 'a\0b'])), { kind: 'bad-request' });
});

t.test('deadlines and aborts reach the whole group', async (t) => {
  const mark = `3${Math.floor(Math.random() * 1e6)}`;
  const late = await runCommand(['sh', '-c', `sleep ${mark} & trap '' TERM; sleep ${mark}; sleep ${mark}`], { seconds: 0.3 });
  t.match(late, { code: undefined, reason: /did not finish within 0.3 s/ });
  t.ok(late.seconds < 4);
  t.equal(running(mark), 0);
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 200);
  t.match(await refusal(runCommand(['sh', '-c', `sleep ${mark} & sleep ${mark}`], { signal: stop.signal })), { kind: 'interrupted' });
  t.equal(running(mark), 0);
  t.match(await refusal(runCommand(['true'], { signal: stop.signal })), { kind: 'interrupted' });
});

t.test('long-running children, streams, daemons', async (t) => {
  const lines: string[] = [];
  const status: string[] = [];
  const child = startProcess(['sh', '-c', 'echo one; echo two >&2; echo three >&3; sleep 60'], { onLine: (line, from) => lines.push(`${from} ${line}`), onStatusLine: (line) => status.push(line) });
  while (lines.length < 2 || status.length < 1) await sleep(10);
  t.same([lines.sort(), status], [['stderr two', 'stdout one'], ['three']]);
  await child.stop();
  t.match(await child.exited, { code: undefined, reason: /SIGTERM/ });
  t.match(await startProcess(['no-such-program']).exited, { code: 127 });

  const echo = openStream(['cat']);
  const payload = randomBytes(3 << 20);
  const received: Buffer[] = [];
  echo.on('data', (chunk: Buffer) => received.push(chunk));
  echo.end(payload);
  await new Promise((resolve) => echo.once('end', resolve));
  t.ok(Buffer.concat(received).equals(payload), 'a stream carries every byte');
  const failing = openStream(['sh', '-c', 'echo refused >&2; exit 1']);
  const why = await new Promise<Error>((resolve) => failing.once('error', resolve));
  t.match(why, { kind: 'unavailable', message: /refused/ });

  const log = join(scratch, 'daemon.log');
  const pid = await spawnDaemon(['sh', '-c', 'echo up; exec sleep 61'], { log, pidFile: join(scratch, 'daemon.pid') });
  t.equal(readFileSync(join(scratch, 'daemon.pid'), 'utf8'), `${pid}\n`);
  while (!readFileSync(log, 'utf8').includes('up')) await sleep(10);
  await stopDaemon(pid);
  t.equal(isAlive(pid), false);
  t.match(await refusal(spawnDaemon(['no-such-program'], { log, pidFile: join(scratch, 'x.pid') })), { kind: 'unavailable' });
});

t.test('quoting and known hosts', async (t) => {
  t.equal(quoteCommand(['echo', '', "it's", 'a b', '$HOME']), `echo '' 'it'\\''s' 'a b' '$HOME'`);
  const word = fc.string({ unit: 'binary', maxLength: 30 }).map((text) => text.replaceAll('\0', ''));
  await fc.assert(
    fc.asyncProperty(fc.array(word, { maxLength: 5 }), async (words) => {
      const result = await runCommand(['sh', '-c', quoteCommand(['printf', '%s\\0', ...words])]);
      return result.stdout === (words.length === 0 ? '\0' : words.map((text) => `${text}\0`).join(''));
    }),
    { numRuns: 60 },
  );
  const a = ssh2.utils.generateKeyPairSync('ed25519').public.split(' ').slice(0, 2).join(' ');
  const b = ssh2.utils.generateKeyPairSync('ed25519').public.split(' ').slice(0, 2).join(' ');
  const blob = (line: string): Buffer => Buffer.from(line.split(' ')[1] ?? '', 'base64');
  const text = `# comment\nh1,10.0.0.1 ${a}\n[h1]:2222 ${b}\n*.site,!bad.site ${a}\n@revoked h3 ${a}\nh3 ${a}\n@cert-authority * ${b}\n`;
  t.equal(isKnown(knownKeys(text, '10.0.0.1', 22), blob(a)), true);
  t.equal(isKnown(knownKeys(text, 'h1', 22), blob(b)), false);
  t.equal(isKnown(knownKeys(text, 'h1', 2222), blob(b)), true);
  t.equal(isKnown(knownKeys(text, 'x.site', 22), blob(a)), true);
  t.equal(isKnown(knownKeys(text, 'bad.site', 22), blob(a)), false);
  t.equal(isKnown(knownKeys(text, 'h3', 22), blob(a)), false, 'revoked');
});

// ---------------------------------------------------------------- transports

const isRoot = process.getuid?.() === 0;
const noSshd = !isRoot ? 'needs root' : existsSync('/usr/sbin/sshd') ? false : 'openssh-server is not installed (gridvc doctor)';

async function transportContract(t: Tap, transport: NodeTransport, dir: string): Promise<void> {
  t.match(await transport.run(['sh', '-c', 'echo out; echo err >&2; exit 3']), { code: 3, stdout: 'out\n', stderr: 'err\n', reason: /code 3: err/ });
  t.match(await transport.run(['no-such-program']), { code: 127, reason: /./ });
  t.match(await transport.run(['printenv', 'LC_ALL', 'PATH']), { stdout: /^C\n\/usr\/local\/sbin:.*:\/bin\n$/ });
  t.match(await transport.run(['printf', '%s|', '', "it's", '$HOME `id`', 'new\nline', '-n', 'ü']), { stdout: "|it's|$HOME `id`|new\nline|-n|ü|" }, 'each word arrives as it is');
  const payload = randomBytes(3 << 20);
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < payload.length; at += 100_000) yield payload.subarray(at, at + 100_000);
  }
  const digest = createHash('sha256').update(payload).digest('hex');
  t.match(await transport.run(['sha256sum'], { input: pieces() }), { stdout: new RegExp(digest) }, 'input is streamed');
  t.match(await transport.run(['true'], { input: payload }), { code: 0 }, 'input that nobody reads');
  const mark = `4${Math.floor(Math.random() * 1e6)}`;
  t.match(await transport.run(['sleep', mark], { seconds: 1 }), { code: undefined, reason: /did not finish within 1 s/ });
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 200);
  t.match(await refusal(transport.run(['sleep', mark], { signal: stop.signal })), { kind: 'interrupted' });
  await sleep(50);
  t.equal(running(mark), 0, 'nothing is left running');
  const many = await Promise.all(Array.from({ length: 25 }, (_, i) => transport.run(['echo', String(i)])));
  t.same(many.map((result) => result.stdout.trim()), many.map((_, i) => String(i)), 'many at once');
  const codes = await Promise.all(Array.from({ length: 4 }, async () => {
    const seen: (number | undefined)[] = [];
    for (let n = 0; n < 75; n++) seen.push((await transport.run(['true'], { input: 'not read' })).code);
    return seen;
  }));
  t.same([...new Set(codes.flat())], [0], 'the end of a quick command is never missed');

  const local = join(dir, 'file');
  writeFileSync(local, payload);
  const remote = join(dir, 'far', "it's here");
  for (const again of [1, 2]) {
    t.same(await transport.putFile(local, remote, { mode: 0o640 }), { bytes: payload.length }, `put, ${again}`);
    t.ok(readFileSync(remote).equals(payload) && (statSync(remote).mode & 0o777) === 0o640);
  }
  t.same(readdirSync(join(dir, 'far')), ["it's here"], 'no staged file is left');
  await transport.putFile(local, remote, { digest: createHash('sha256').update(payload).digest('hex') });
  t.match(await refusal(transport.putFile(local, join(dir, 'other'), { digest: '0'.repeat(64) })), { kind: 'unavailable', message: /its digest is not the one/ });
  t.notOk(existsSync(join(dir, 'other')), 'what is not what it should be is not kept');
  t.match(await refusal(transport.putFile(join(dir, 'none'), remote)), { kind: 'not-found' });
  t.match(await refusal(transport.putFile(local, join(local, 'file'))), { kind: /unavailable|not-found/ });
}

type Tap = typeof t;

t.test('local transport', async (t) => {
  const dir = join(scratch, 'local');
  mkdirSync(dir);
  const transport = new LocalTransport({ host: 'here' });
  await transportContract(t as Tap, transport, dir);
  t.equal(await transport.linkFile(join(dir, 'file'), join(dir, 'linked')), true);
  t.equal(statSync(join(dir, 'file')).nlink, 2);
  t.equal(await transport.linkFile(join(dir, 'file'), join(dir, 'linked')), true, 'repeatable');
  t.same(readdirSync(dir).sort(), ['far', 'file', 'linked']);
});

t.test('local transport inside a network namespace', { skip: isRoot ? false : 'needs root' }, async (t) => {
  const name = `gvtest-${randomBytes(3).toString('hex')}`;
  await runCommand(['ip', 'netns', 'add', name]);
  t.teardown(() => runCommand(['ip', 'netns', 'del', name]));
  const result = await new LocalTransport({ host: 'here', netns: name }).run(['ip', '-o', 'link']);
  t.match(result.stdout, /^1: lo: /);
  t.equal(result.stdout.split('\n').filter((line) => /^\d+: (eth|en|veth)/.test(line)).length, 0);
});

t.test('ssh transport', { skip: noSshd }, async (t) => {
  const sshd = await startSshd(join(scratch, 'sshd'));
  t.teardown(() => sshd.stop());
  const dir = join(scratch, 'ssh');
  mkdirSync(dir);
  const options = { host: 'far', address: '127.0.0.1', port: sshd.port, user: 'root', key: sshd.key, knownHosts: sshd.knownHosts };
  const transport = new SshTransport(options);
  t.teardown(() => transport.close());
  await transportContract(t as Tap, transport, dir);

  const word = fc.string({ unit: 'binary', maxLength: 30 }).map((text) => text.replaceAll('\0', ''));
  await fc.assert(
    fc.asyncProperty(fc.array(word, { minLength: 1, maxLength: 4 }), async (words) => (await transport.run(['printf', '%s\\0', ...words])).stdout === words.map((text) => `${text}\0`).join('')),
    { numRuns: 30 },
  );
  t.pass('any word survives sshd and the shell');

  sshd.dropConnections();
  await sleep(100);
  t.match(await transport.run(['echo', 'back']), { stdout: 'back\n' }, 'a lost connection is made anew');
  const cut = refusal(transport.run(['sleep', '5']));
  await sleep(300);
  sshd.dropConnections();
  t.match(await cut, { kind: 'unavailable', message: /connection was lost/ });

  const strange = join(scratch, 'strange_hosts');
  writeFileSync(strange, `[127.0.0.1]:${sshd.port} ${ssh2.utils.generateKeyPairSync('ed25519').public}\n`);
  t.match(await refusal(new SshTransport({ ...options, knownHosts: strange }).run(['true'])), { kind: 'unavailable', message: /its key is not the one in/ });
  writeFileSync(strange, '');
  t.match(await refusal(new SshTransport({ ...options, knownHosts: strange }).run(['true'])), { kind: 'unavailable', hint: /ssh-keyscan/ });
  t.match(await refusal(new SshTransport({ ...options, port: 1 }).run(['true'])), { kind: 'unavailable' });

  // a host that is just going down: ssh2 tells two errors of one connection, and the second once ended the head
  const dying = createServer((socket) => socket.once('data', () => socket.resetAndDestroy())).listen(0, '127.0.0.1');
  t.teardown(() => dying.close());
  await once(dying, 'listening');
  const { port } = dying.address() as AddressInfo;
  writeFileSync(strange, `[127.0.0.1]:${port} ${ssh2.utils.generateKeyPairSync('ed25519').public}\n`);
  t.match(await refusal(new SshTransport({ ...options, port, knownHosts: strange }).run(['true'])), { kind: 'unavailable' });
  await sleep(100);
});

t.test('layers go over ssh', { skip: noSshd }, async (t) => {
  const sshd = await startSshd(join(scratch, 'sshd2'));
  const transport = new SshTransport({ host: 'far', address: '127.0.0.1', port: sshd.port, user: 'root', key: sshd.key, knownHosts: sshd.knownHosts });
  t.teardown(async () => {
    await transport.close();
    await sshd.stop();
  });
  const content = randomBytes(2 << 20);
  const layer: Layer = { digest: createHash('sha256').update(content).digest('hex'), kind: 'delta', bytes: content.length };
  const source = join(scratch, 'layer.sqfs');
  writeFileSync(source, content);
  const home = join(scratch, 'far-home');
  const distributor = new DirectDistributor({ source: () => source, home: () => home });
  const both = await Promise.all([distributor.distribute([layer], [transport]), distributor.distribute([layer], [transport])]);
  t.same(both.map(({ bytes }) => bytes).sort(), [0, layer.bytes], 'two parts at once: sent once');
  t.same(await distributor.distribute([layer], [transport]), { bytes: 0 });
  writeFileSync(source, Buffer.alloc(layer.bytes));
  rmSync(join(home, 'layers'), { recursive: true });
  t.match(await refusal(distributor.distribute([layer], [transport])), { kind: 'unavailable', message: /its digest is not the one/ });
  t.same(readdirSync(join(home, 'layers')), [], 'a broken layer is not kept');
});
