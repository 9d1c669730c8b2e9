/** The overlay with the real openvpn: who may join, who may not, what survives, what is left. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { issueClient, issueHub, overlayName, type OverlayCertificate } from '../gatekeeper/hub/credentials.js';
import { hubFiles, hubPid, type HubSpec } from '../gatekeeper/hub/daemon.js';
import { Hub } from '../gatekeeper/hub/hub.js';
import { parseStatus } from '../gatekeeper/hub/management.js';
import { makeLog } from '../src/log.js';
import { blockCount, blockOf, hubAddress, netmask, nodeAddress, nodeRoom, parsePool, profileAddress, profileRoom } from '../src/overlay/addresses.js';
import { nodeFiles, userProfile } from '../src/overlay/client-config.js';
import { makeAuthority, type Issuer } from '../src/pki/issue.js';

const log = makeLog('test', 'silent');
const pool = parsePool('10.128.0.0/10', 20);
const soon = new Date(Date.now() + 3600_000);
const owner = '/O=Grid/OU=Test/CN=Alice Ä';

void t.test('addresses', async (t) => {
  t.equal(blockCount(pool), 1024);
  const last = blockOf(pool, 1023);
  t.equal(hubAddress(last), '10.191.240.1');
  t.equal(nodeAddress(last, 1), '10.191.240.10');
  t.equal(profileAddress(last, 1), '10.191.255.254');
  t.equal(netmask(20), '255.255.240.0');
  const number = (text: string): number => text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  t.ok(number(nodeAddress(last, nodeRoom(20))) < number(profileAddress(last, profileRoom)), 'nodes and profiles never meet');
  t.throws(() => nodeAddress(last, nodeRoom(20) + 1));
  t.throws(() => blockOf(pool, 1024));
  for (const bad of ['10.128.0.1/10', '10.128.0.0', '300.0.0.0/10', 'x/9', '10.0.0.0/30']) t.throws(() => parsePool(bad, 20), /is not a network such as/, bad);
  t.throws(() => parsePool('10.128.0.0/10', 24), /does not fit/);
});

void t.test('texts', async (t) => {
  const overlay = { hubHost: '192.0.2.1', hubPort: 21001, ca: 'CA\n', hubName: 'hub.abcdefgh', netmask: '255.255.240.0' };
  const files = nodeFiles({ certificate: 'CERT\n', key: 'KEY\n' }, overlay);
  t.equal(files.find((file) => file.path.endsWith('.key'))?.mode, 0o600);
  t.match(files.map((file) => Buffer.from(file.content).toString()).join(), /remote 192\.0\.2\.1 21001\n[^]*verify-x509-name hub\.abcdefgh name/);
  t.match(userProfile({ certificate: 'CERT\n', key: 'KEY\n' }, overlay), /<cert>\nCERT\n<\/cert>\n<key>\nKEY\n<\/key>/);
  t.throws(() => parseStatus(['TITLE\tsomething else']), /form that is not known/, 'an unknown form is an error, not a guess');
});

interface Client {
  readonly process: ChildProcess;
  readonly name: string;
  text(): string;
}

const root = process.getuid?.() === 0;
void t.test('hubs', { skip: root ? false : 'needs root: network namespaces and tun devices' }, async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'gridvc-overlay-'));
  const before = leftovers();
  const hubs: Hub[] = [];
  const clients: Client[] = [];
  const ca = await makeAuthority({ subject: '/O=Grid/CN=Overlay', days: 2 });
  const stranger = await makeAuthority({ subject: '/O=Grid/CN=Overlay', days: 2 });
  t.teardown(async () => {
    await Promise.all(clients.map(endClient));
    await Promise.all(hubs.map((hub) => hub.stop(home)));
    rmSync(home, { recursive: true, force: true });
  });

  const a = await makeSpec(ca, 'aaaaaaa1', 21951, 5, 3);
  const b = await makeSpec(ca, 'bbbbbbb1', 21952, 6, 1);
  const began = Date.now();
  const [hubA, hubB] = await Promise.all([Hub.start(a.spec, home, log), Hub.start(b.spec, home, log)]);
  hubs.push(hubA, hubB);
  t.comment(`two hubs up in ${Date.now() - began} ms`);

  const [n1, n2, n3] = a.nodes as [OverlayCertificate, OverlayCertificate, OverlayCertificate];
  clients.push(startClient(home, 'a1', n1, ca, a.spec), startClient(home, 'a2', n2, ca, a.spec), startClient(home, 'b1', b.nodes[0] as OverlayCertificate, ca, b.spec));
  t.same(await joinedNames(hubA, a.spec.clients.slice(0, 2)), [n1.name, n2.name], 'right certificates join');
  t.same(await joinedNames(hubB, b.spec.clients), [overlayName('n1', 'bbbbbbb1')]);
  t.ok(await hubA.ping(nodeAddress(a.spec.block, 1)), 'the gatekeeper reaches a node');
  t.ok(await hubB.ping(nodeAddress(b.spec.block, 1)));
  t.equal(pings('a1', nodeAddress(a.spec.block, 2)), true, 'nodes of one cluster reach each other');
  t.equal(pings('a1', nodeAddress(b.spec.block, 1)), false, 'nodes of two clusters do not');
  t.equal(pings('a1', hubAddress(b.spec.block)), false, 'nor the hub of the other');
  t.equal(pings('a1', '192.0.2.9'), false);
  t.equal(await hubA.ping(nodeAddress(b.spec.block, 1)), false, 'one hub does not reach the other cluster');

  await t.test('dial', async (t) => {
    const server = spawn('ip', ['netns', 'exec', 'gvtest-a1', 'socat', 'TCP-LISTEN:22,reuseaddr', 'EXEC:cat']);
    await sleep(100);
    const stream = hubA.dial(nodeAddress(a.spec.block, 1));
    stream.write('over the overlay');
    const [answer] = (await once(stream, 'data')) as [Buffer];
    t.equal(answer.toString(), 'over the overlay');
    stream.destroy();
    server.kill();
    const refused = hubA.dial(nodeAddress(a.spec.block, 2), 9);
    const [error] = (await once(refused, 'error')) as [Error];
    t.match(error.message, /refused/);
  });

  await t.test('strangers', async (t) => {
    const forged = await issueClient(stranger, { owner, cluster: 'aaaaaaa1', name: 'n3', notAfter: soon });
    const posing = { ...b.nodes[0], name: overlayName('n3', 'aaaaaaa1') } as OverlayCertificate;
    const late = await issueClient(ca, { owner, cluster: 'aaaaaaa1', name: 'n3', notAfter: new Date(Date.now() - 1000) });
    const tries = [startClient(home, 'x1', forged, ca, a.spec), startClient(home, 'x2', posing, ca, a.spec), startClient(home, 'x3', late, ca, a.spec)];
    clients.push(...tries);
    await sleep(1500);
    t.same((await hubA.connected()).map((client) => client.name).sort(), [n1.name, n2.name], 'another CA, another cluster, an expired one: none is in');
    t.match(tries[1]?.text() ?? '', /AUTH_FAILED/, 'another cluster of the same CA gets its answer');
    for (const one of tries) t.notMatch(one.text(), /Initialization Sequence Completed/);
    await Promise.all(tries.map(endClient));
    const liar = startClient(home, 'x4', n3, ca, { ...a.spec, cluster: 'ccccccc1' }); // insists on another hub's name
    clients.push(liar);
    await sleep(500);
    t.match(liar.text(), /VERIFY X509NAME ERROR/, 'a client refuses a hub with another name');
    await endClient(liar);
  });

  await t.test('revocation', async (t) => {
    await hubA.revoke(n2.name, n2.serial);
    await sleep(200);
    t.same((await hubA.connected()).map((client) => client.name), [n1.name], 'its connection ends at once');
    await endClient(clients[1] as Client);
    const again = startClient(home, 'a2', n2, ca, a.spec);
    clients.push(again);
    await sleep(1200);
    t.same((await hubA.connected()).map((client) => client.name), [n1.name], 'and it cannot come back');
    await endClient(again);
    await hubA.admit({ name: overlayName('u1', 'aaaaaaa1'), address: profileAddress(a.spec.block, 1) });
    const laptop = await issueClient(ca, { owner, cluster: 'aaaaaaa1', name: 'u1', notAfter: soon });
    clients.push(startClient(home, 'u1', laptop, ca, a.spec));
    t.same(await joinedNames(hubA, [{ name: laptop.name, address: profileAddress(a.spec.block, 1) }]), [laptop.name], 'a profile issued later joins, at its address');
  });

  await t.test('restart and adoption', async (t) => {
    const pid = (await hubPid(hubFiles(home, 'bbbbbbb1'))) as number;
    hubB.detach();
    const adopted = await Hub.start(b.spec, home, log);
    hubs.push(adopted);
    t.equal(await hubPid(hubFiles(home, 'bbbbbbb1')), pid, 'the next gatekeeper adopts the running openvpn');
    t.ok(await adopted.ping(nodeAddress(b.spec.block, 1)), 'no connection was lost');
    process.kill(pid, 'SIGKILL');
    await until(async () => ![undefined, pid].includes(await hubPid(hubFiles(home, 'bbbbbbb1'))));
    await until(async () => (await adopted.connected().catch(() => undefined)) !== undefined);
    t.pass('a killed openvpn is started again');
    await endClient(clients.find((client) => client.name === 'b1') as Client);
    clients.push(startClient(home, 'b1', b.nodes[0] as OverlayCertificate, ca, b.spec));
    t.same(await joinedNames(adopted, b.spec.clients), [overlayName('n1', 'bbbbbbb1')], 'and takes clients');
    adopted.detach();
    process.kill((await hubPid(hubFiles(home, 'bbbbbbb1'))) as number, 'SIGKILL');
    const anew = await Hub.start(b.spec, home, log);
    hubs.push(anew);
    t.ok(await hubPid(hubFiles(home, 'bbbbbbb1')), 'one that died without a gatekeeper is started anew');
  });

  await t.test('a taken port', async (t) => {
    const c = await makeSpec(ca, 'ccccccc1', 21951, 7, 1);
    await t.rejects(Hub.start(c.spec, home, log), { kind: 'unavailable', message: /UDP port 21951/, hint: /[Aa]ddress already in use/ });
    t.same(leftovers().filter((line) => line.includes('ccccccc1')), [], 'nothing of it is left');
  });

  await t.test('50 clients', async (t) => {
    const c = await makeSpec(ca, 'ddddddd1', 21953, 8, 50);
    const hub = await Hub.start(c.spec, home, log);
    hubs.push(hub);
    const since = Date.now();
    for (const [i, node] of c.nodes.entries()) clients.push(startClient(home, `m${i}`, node, ca, c.spec));
    const spawned = Date.now() - since;
    const names = await joinedNames(hub, c.spec.clients, 30);
    t.equal(names.length, 50);
    t.comment(`50 clients: spawned in ${spawned} ms, all joined after ${Date.now() - since} ms`);
  });

  await Promise.all(clients.map(endClient));
  await Promise.all(hubs.map((hub) => hub.stop(home)));
  t.same(leftovers(), before, 'no process, namespace, link is left');
  t.throws(() => readFileSync(hubFiles(home, 'aaaaaaa1').key), 'nor a key');

  async function until(done: () => Promise<boolean>): Promise<void> {
    for (let i = 0; !(await done()); i++) {
      if (i > 500) throw new Error('waited 10 s in vain');
      await sleep(20);
    }
  }
});

async function makeSpec(issuer: Issuer, cluster: string, port: number, index: number, count: number): Promise<{ spec: HubSpec; nodes: OverlayCertificate[] }> {
  const block = blockOf(pool, index);
  const nodes = await Promise.all(Array.from({ length: count }, (_, i) => issueClient(issuer, { owner, cluster, name: `n${i + 1}`, notAfter: soon })));
  const hub = await issueHub(issuer, cluster, soon);
  const clients = nodes.map((node, i) => ({ name: node.name, address: nodeAddress(block, i + 1) }));
  return { spec: { cluster, port, block, ca: issuer.certificate, certificate: hub.certificate, key: hub.key, clients, revoked: [] }, nodes };
}

/** A real client whose socket is in the root namespace and whose tun device is in one of its own. */
function startClient(home: string, name: string, own: OverlayCertificate, ca: Issuer, hub: HubSpec): Client {
  const profile = userProfile(own, { hubHost: '127.0.0.1', hubPort: hub.port, ca: ca.certificate, hubName: overlayName('hub', hub.cluster), netmask: netmask(20) });
  const path = join(home, `${name}.ovpn`);
  const script = join(home, `${name}.up`);
  const namespace = `gvtest-${name}`;
  writeFileSync(path, profile.replace('dev tun\n', `dev gvt-${name}\nifconfig-noexec\nroute-noexec\nscript-security 2\nup ${script}\n`).replace('verb 1', 'verb 3'), { mode: 0o600 });
  writeFileSync(
    script,
    `#!/bin/sh\nset -e\nip netns add ${namespace} 2>/dev/null || true\nip link set $dev netns ${namespace}\nip -n ${namespace} addr add $ifconfig_local/20 dev $dev\nip -n ${namespace} link set $dev up\n`,
    { mode: 0o755 },
  );
  const child = spawn('openvpn', ['--config', path], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return { process: child, name, text: () => text };
}

async function endClient(client: Client): Promise<void> {
  if (client.process.exitCode === null && client.process.signalCode === null) {
    client.process.kill('SIGKILL');
    await once(client.process, 'exit');
  }
  try {
    execFileSync('ip', ['netns', 'del', `gvtest-${client.name}`], { stdio: 'ignore' });
  } catch {
    // it never joined, so it never made one
  }
}

async function joinedNames(hub: Hub, clients: HubSpec['clients'], seconds = 10): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of hub.joined(clients, AbortSignal.timeout(seconds * 1000))) names.push(name);
  return names.sort();
}

function pings(name: string, address: string): boolean {
  try {
    execFileSync('ip', ['netns', 'exec', `gvtest-${name}`, 'ping', '-c', '1', '-W', '1', address], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Namespaces, links and openvpn processes of this test; other grids may come and go on this machine. */
function leftovers(): string[] {
  const run = (command: string, ...words: string[]): string[] => execFileSync(command, words, { encoding: 'utf8' }).split('\n').filter(Boolean);
  const ours = /aaaaaaa1|bbbbbbb1|ccccccc1|ddddddd1|gvt-|gvtest-|gridvc-overlay-/;
  return [...run('ip', 'netns', 'list'), ...run('ip', '-br', 'link').map((line) => line.split(' ')[0] ?? ''), ...run('ps', '-eo', 'args').filter((line) => line.startsWith('openvpn'))].filter((line) => ours.test(line)).sort();
}
