/** The gatekeeper's front door under real TLS clients: 300 at once with good, bad, unordered, huge and slow chains; memory over thousands. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { fits, handshakes, startTlsWorld, type Case } from './support/tls-world.js';

const home = mkdtempSync(join(tmpdir(), 'gridvc-tls-'));
const world = await startTlsWorld(home);
t.teardown(async () => {
  await world.stop();
  rmSync(home, { recursive: true, force: true });
});

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly exit: number | null;
}
type Client = (each: Case, port: number, version: '1.2' | '1.3') => Promise<Answer>;

const files = new Map<Case, { cert: string; leaf: string; rest: string; key: string }>();
for (const [index, each] of world.cases.entries()) {
  const [leaf, ...rest] = each.chain;
  const write = (name: string, text: string): string => {
    const path = join(home, `${index}.${name}`);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  if (leaf) files.set(each, { cert: write('cert', each.chain.map(({ pem }) => pem).join('')), leaf: write('leaf', leaf.pem), rest: write('rest', rest.map(({ pem }) => pem).join('')), key: write('key', leaf.keyPem) });
}

const weak = 'DEFAULT@SECLEVEL=0'; // the client must not refuse its own SHA-1 certificate: the server is to judge it
const curl: Client = async (each, port, version) => {
  const own = files.get(each);
  const credential = own ? ['--cert', own.cert, '--key', own.key] : [];
  const { exit, stdout } = await run(['curl', '-s4', '--max-time', '60', '--http1.1', `--tlsv${version}`, '--tls-max', version, '--ciphers', weak, '--cacert', world.ca, ...credential, '-w', '\n%{http_code}', `https://localhost:${port}/whoami`], '');
  const cut = stdout.lastIndexOf('\n');
  return { exit, status: Number(stdout.slice(cut + 1)), body: stdout.slice(0, cut) };
};
const openssl: Client = async (each, port, version) => {
  const own = files.get(each);
  const credential = own ? ['-cert', own.leaf, '-key', own.key, ...(each.chain.length > 1 ? ['-cert_chain', own.rest] : [])] : [];
  const { exit, stdout } = await run(['openssl', 's_client', '-quiet', '-connect', `127.0.0.1:${port}`, `-tls${version.replace('.', '_')}`, '-cipher', weak, '-CAfile', world.ca, ...credential], 'GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  return { exit, status: Number(/^HTTP\/1\.1 (\d+)/.exec(stdout)?.[1] ?? 0), body: stdout.slice(Math.max(0, stdout.indexOf('\r\n\r\n'))).trim() };
};

async function run([command = '', ...words]: readonly string[], input: string): Promise<{ exit: number | null; stdout: string }> {
  const child = spawn(command, words, { stdio: ['pipe', 'pipe', 'ignore'], timeout: 90_000 });
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stdin.on('error', () => undefined).write(input); // left open: s_client ends when the server does
  const [exit] = (await once(child, 'close')) as [number | null];
  return { exit, stdout };
}

/** A path to the server on which the client's bytes come as `pace` lets them. */
async function slowPath(pace: (bytes: Buffer, to: Socket) => Promise<void>): Promise<{ port: number; close(): void }> {
  const sockets = new Set<Socket>();
  const relay = createServer({ noDelay: true }, (from) => {
    const to = connect(world.port, '127.0.0.1');
    let turn = Promise.resolve();
    for (const socket of [from, to]) sockets.add(socket.on('error', () => undefined));
    from.on('data', (bytes: Buffer) => (turn = turn.then(() => pace(bytes, to)))).on('close', () => to.destroy());
    to.on('data', (bytes) => from.write(bytes)).on('close', () => from.destroy());
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  return { port: (relay.address() as AddressInfo).port, close: () => (sockets.forEach((socket) => socket.destroy()), relay.close()) };
}

const missing = ['curl', 'openssl'].filter((name) => spawnSync(name, ['version', '--version']).error !== undefined);
const skip = missing.length > 0 ? `not installed: ${missing.join(', ')}` : false;

t.test('300 handshakes at once, every chain judged as it should be', { skip, timeout: 240_000 }, async (t) => {
  const slow = await slowPath(async (bytes, to) => {
    for (let at = 0; at < bytes.length; at += 400) {
      to.write(bytes.subarray(at, at + 400));
      await sleep(30);
    }
  });
  const dead = await slowPath(async (bytes, to) => void to.write(bytes.subarray(0, 100))); // the hello is never whole
  t.teardown(() => (slow.close(), dead.close()));
  const clients = [curl, openssl] as const;
  const slowly = world.cases.filter(({ name }) => ['two proxies', 'unordered', 'a proxy by another key', 'none'].includes(name));
  const wanted = Array.from({ length: 300 }, (_, n) => {
    const version = Math.floor(n / 2) % 2 === 0 ? ('1.3' as const) : ('1.2' as const);
    const [kind, each, port] = n < 8 ? (['dead', world.cases[0], dead.port] as const) : n < 40 ? (['slow', slowly[Math.floor(n / 4) % slowly.length], slow.port] as const) : (['direct', world.cases[Math.floor(n / 4) % world.cases.length], world.port] as const);
    const client = each?.name === 'SHA-1' ? openssl : clients[n % 2] as Client; // curl itself refuses to send it
    return { kind, each: each as Case, client, version, port };
  });
  const begun = performance.now();
  const answers = await Promise.all(wanted.map(async (one) => ({ ...one, answer: await one.client(one.each, one.port, one.version), after: performance.now() - begun })));
  t.comment(`300 clients: ${((performance.now() - begun) / 1000).toFixed(1)} s; the last that was not cut off after ${(Math.max(...answers.filter(({ kind }) => kind !== 'dead').map(({ after }) => after)) / 1000).toFixed(1)} s`);
  for (const { kind, each, client, version, answer } of answers) {
    const label = `${each.name}, ${kind}, ${client === curl ? 'curl' : 'openssl'} TLS ${version}`;
    if (kind === 'dead') t.match(answer, { status: 0 }, label);
    else if (!fits(each, answer.status) || (answer.status !== 0 && !each.says.test(answer.body))) t.fail(label, { answer, wanted: each.status });
  }
  const dying = answers.filter(({ kind }) => kind === 'dead').map(({ after }) => after / 1000);
  t.ok(Math.min(...dying) > 8 && Math.max(...dying) < 30, `a handshake that does not go on is cut off after ten seconds (${Math.min(...dying).toFixed(1)} to ${Math.max(...dying).toFixed(1)} s)`);
  const seen = new Set(answers.map(({ each, client, version }) => `${each.name} ${clients.indexOf(client)} ${version}`));
  t.ok(seen.size >= world.cases.length * 4 - 4, `${seen.size} pairs of chain, client and version`);
});

t.test('memory stays flat over 2,000 handshakes', { timeout: 400_000 }, async (t) => {
  const usual = world.cases.filter(({ status }) => status !== 0);
  await handshakes(world.port, usual, 600);
  const before = await world.memory();
  const begun = performance.now();
  await handshakes(world.port, usual, 2_000);
  const after = await world.memory();
  const MiB = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  t.comment(`${((performance.now() - begun) / 2_000).toFixed(2)} ms each, both sides; resident ${MiB(before.rss)} -> ${MiB(after.rss)}, heap ${MiB(before.heap)} -> ${MiB(after.heap)}`);
  t.ok(after.heap - before.heap < 4 * 2 ** 20, `heap +${MiB(after.heap - before.heap)}`);
  t.ok(after.rss - before.rss < 24 * 2 ** 20, `resident +${MiB(after.rss - before.rss)}`);
});
