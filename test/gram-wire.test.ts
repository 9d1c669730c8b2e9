/** The wire of GRAM: framing and messages as such, then the real Globus clients of Debian against our door, then those who mean no good. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { createServer as createTls } from 'node:tls';
import fc from 'fast-check';
import t from 'tap';
import { makeContacts } from '../gatekeeper/gram/contact.js';
import { Unframer } from '../gatekeeper/gram/framing.js';
import * as m from '../gatekeeper/gram/messages.js';
import { codes, errorText, states } from '../gatekeeper/gram/protocol.js';
import { Traffic, turns } from '../gatekeeper/gram/traffic.js';
import { mayDial, readUserUrl } from '../gatekeeper/gram/user-connection.js';
import { GridError } from '../src/domain/error.js';
import { makeAuthority } from '../src/pki/issue.js';
import { ask, delegate, post, slowRelay, submitBody } from './support/gram-client.js';
import { hasClients, startGramWorld, type GramWorld, type Person } from './support/gram-world.js';

const home = mkdtempSync(join(tmpdir(), 'gridvc-gram-'));
t.teardown(() => rmSync(home, { recursive: true, force: true }));
const refused = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof GridError) return error.message;
    throw error;
  }
  return 'not refused';
};

const outcome = (work: Promise<unknown>): Promise<string> => work.then(() => 'done', (error: unknown) => (error instanceof GridError ? error.kind : String(error)));

t.test('framing: prefixes go, records stay, whatever the cuts', async (t) => {
  const record = (type: number, body: Buffer): Buffer => Buffer.concat([Buffer.from([type, 3, 3, body.length >> 8, body.length & 255]), body]);
  const records = fc.uint8Array({ minLength: 1, maxLength: 700 }).chain((body) => fc.integer({ min: 20, max: 26 }).map((type) => record(type, Buffer.from(body))));
  const unit = fc.oneof(records.map((tls) => ({ tls, wire: tls })), fc.array(records, { minLength: 1, maxLength: 3 }).map((many) => {
    const tls = Buffer.concat(many);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(tls.length);
    return { tls, wire: Buffer.concat([length, tls]) };
  }));
  fc.assert(fc.property(fc.array(unit, { minLength: 1, maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 }), (units, cuts) => {
    const wire = Buffer.concat(units.map((each) => each.wire));
    const unframer = new Unframer();
    const out: Buffer[] = [];
    for (let at = 0, n = 0; at < wire.length; n++) {
      const next = at + (cuts[n % cuts.length] ?? 1);
      out.push(...unframer.push(wire.subarray(at, next)));
      at = next;
    }
    return Buffer.concat(out).equals(Buffer.concat(units.map((each) => each.tls))) && unframer.framed === (units[0]?.wire !== units[0]?.tls);
  }));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
    refused(() => new Unframer().push(Buffer.from(bytes))); // a GridError, or nothing
  }));
  t.match(refused(() => new Unframer().push(Buffer.from('GET / HTTP/1.1'))), /neither a GSI token nor a TLS record/);
  t.match(refused(() => new Unframer().push(Buffer.from([0, 0xff, 0xff, 0xff]))), /a GSI token of 16777215 bytes; 1 to 262144/);
});

t.test('messages: read as they are written, refused by name', async (t) => {
  t.strictSame(m.readTarget('ping/jobmanager-fork'), { ping: true, service: 'jobmanager-fork' });
  t.strictSame(m.readTarget('/jobmanager@alice'), { ping: false, service: 'jobmanager', account: 'alice' });
  for (const bad of ['/ping/x', '/', 'jobmanager', '/a b', '/../x', '/x@']) t.equal(m.readTarget(bad), undefined, bad);
  t.strictSame(m.readRequestHead('POST /jobmanager HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-globus-gram\r\nContent-Length: 17'), { method: 'POST', target: '/jobmanager', length: 17 });
  t.match(refused(() => m.readRequestHead('GET / HTTP/1.1')), /begins with POST/);
  t.match(refused(() => m.readRequestHead('POST / HTTP/1.1\r\nContent-Length: 1\r\ncontent-length: 2')), /twice/);
  t.match(refused(() => m.readRequestHead('POST / HTTP/1.1\r\nContent-Length: -1')), /not a number/);

  fc.assert(fc.property(fc.string({ unit: 'binary' }).filter((text) => !text.includes('\0')), fc.integer({ min: 0, max: 0xfffff }), (rsl, mask) => {
    const body = Buffer.from(`protocol-version: 2\r\njob-state-mask: ${mask}\r\ncallback-url: https://h:1/\r\nrsl: "${rsl.replace(/["\\]/g, '\\$&')}"\r\n\0`);
    const read = m.readCommand(body);
    return read.kind === 'submit' && Buffer.from(read.rsl).equals(Buffer.from(rsl)) && read.callback?.mask === mask;
  }), { numRuns: 300 });
  fc.assert(fc.property(fc.oneof(fc.uint8Array(), fc.string({ unit: fc.constantFrom('"', '\\', ':', '\r\n', 'a', ' ', '\0', 'rsl', '2') }).map((text) => Buffer.from(text))), (body) => {
    refused(() => m.readCommand(body));
    refused(() => m.readQuery(body));
  }), { numRuns: 1000 });
  const query = (text: string): m.Query => m.readQuery(Buffer.from(`protocol-version: 2\r\n"${text}"\r\n\0`));
  t.strictSame(['status', 'register 8 https://h:5/', 'unregister https://h:5/', 'signal 5 commit', 'signal x', 'dance'].map(query), [
    { kind: 'status' }, { kind: 'register', mask: 8, url: 'https://h:5/' }, { kind: 'unregister', url: 'https://h:5/' }, { kind: 'signal', signal: 5, argument: 'commit' },
    { kind: 'unknown', text: 'signal x' }, { kind: 'unknown', text: 'dance' },
  ]);
  t.match(refused(() => query('register 8 http://169.254.169.254/')), /https/);
  t.match(refused(() => m.readCommand(Buffer.from('protocol-version: 3\r\nrsl: x'))), /only 2/);
  t.match(refused(() => m.readCommand(Buffer.from('rsl: x\r\nrsl: y'))), /rsl stands twice/);
  t.equal(m.queryReply({ state: states.done, failureCode: 0, jobFailureCode: 0, exitCode: 7, text: 'a "b"\r\nc\\' }),
    'HTTP/1.1 200 OK\r\nContent-Type: application/x-globus-gram\r\nContent-Length: 172\r\n\r\nprotocol-version: 2\r\nstatus: 8\r\nfailure-code: 0\r\njob-failure-code: 0\r\nexit-code: "7"\r\n' +
    'gt3-failure-message: "a \\"b\\" c\\\\"\r\nversion: "gridvc 0.1.0"\r\ntoolkit-version: "6.2"\r\n\0');
  t.equal(errorText(codes.jobContactNotFound), 'the job contact string does not match any which the job manager is handling');
});

t.test('contacts and the addresses that may be called', async (t) => {
  const contacts = makeContacts({ host: 'gk.example.org', port: 2119, subject: '/O=Example Grid/CN=gk.example.org' });
  const contact = contacts.of('/k3x9q2ab/s3cret/');
  t.equal(contact, 'https://gk.example.org:2119/k3x9q2ab/s3cret/:/O=Example Grid/CN=gk.example.org');
  for (const text of [contact, '/k3x9q2ab/s3cret/', 'https://other:1/k3x9q2ab/s3cret/']) t.equal(contacts.pathOf(text), '/k3x9q2ab/s3cret/', text);
  for (const text of ['', '/', 'https://gk:1', '/a/../', '/a b/c/', '/jobmanager']) t.equal(contacts.pathOf(text), undefined, text);
  t.match(refused(() => makeContacts({ host: 'h', port: 1, subject: '/CN=a:b' })), /colon/);

  for (const url of ['http://h:5000/', 'https://h/', 'https://h:443/', 'https://u@h:5000/', 'ftp://h:5000/', 'https://h:5000/#x', 'x']) t.not(refused(() => readUserUrl(url)), 'not refused', url);
  const never = ['0.0.0.0', '169.254.169.254', '224.0.0.1', '255.255.255.255', '::', 'fe80::1', 'ff02::1', '::ffff:169.254.169.254', 'localhost'];
  for (const address of never) t.notOk(mayDial(address, { loopback: true }), address);
  for (const address of ['127.0.0.1', '127.8.0.1', '::1', '::ffff:127.0.0.1']) t.strictSame([mayDial(address, { loopback: true }), mayDial(address, { loopback: false })], [true, false], address);
  for (const address of ['192.168.1.5', '10.0.0.1', '8.8.8.8', '2001:db8::1']) t.ok(mayDial(address, { loopback: false }), address);
});

t.test('jobs start when nobody is at the door', async (t) => {
  const traffic = new Traffic();
  const waited = async (seconds: number): Promise<number> => {
    const begun = performance.now();
    await traffic.quiet(seconds);
    return performance.now() - begun;
  };
  t.ok((await waited(2)) < 200, 'at once, if nobody is there');
  const [one, two] = [traffic.enter(), traffic.enter()];
  const both = Promise.all([waited(5), waited(0.1)]);
  await pause(150);
  one();
  await pause(100);
  two();
  two();
  const [long, impatient] = await both;
  t.ok(long >= 240 && long < 450, `when the last has gone (${Math.round(long)} ms)`);
  t.ok(impatient >= 95 && impatient < 240, `or when it has waited long enough (${Math.round(impatient)} ms)`);
  const turn = turns(3, traffic);
  const most = async (): Promise<number> => {
    let [running, peak] = [0, 0];
    await Promise.all(Array.from({ length: 6 }, () => turn(async () => {
      peak = Math.max(peak, ++running);
      await pause(30);
      running--;
    })));
    return peak;
  };
  t.equal(await most(), 3, 'three at a time');
  traffic.enter();
  const crowd = setInterval(() => traffic.enter(), 100);
  t.equal(await most(), 1, 'one while the door is never quiet');
  clearInterval(crowd);
  await pause(600);
  traffic.enter();
  const late = await waited(5);
  t.ok(late >= 400 && late < 900, `who talks for more than half a second holds up nothing (${Math.round(late)} ms)`);
});

t.test('the real clients', { skip: hasClients ? false : 'globus-gram-client-tools is not installed' }, async (t) => {
  const world = await startGramWorld(join(home, 'clients'));
  t.teardown(() => world.close());
  const { alice, bob, run } = world;
  const at = `localhost:${world.port}`;
  const submit = (rsl: string, as: Person = alice, ...more: string[]): ReturnType<GramWorld['run']> => run(['globusrun', '-q', ...more, '-r', at, rsl], as);

  t.match(await run(['globusrun', '-a', '-r', at], alice), { code: 0, out: /successful/ });
  t.match(await run(['globusrun', '-j', '-r', at], alice), { code: 0, out: /gridvc/ });
  t.match(await run(['globusrun', '-a', '-r', `127.0.0.1:${world.port}`], alice), { code: 1, out: /do not match/ }, 'a name that is not ours');
  t.match(await run(['globusrun', '-a', '-r', `127.0.0.1:${world.port}:/O=Grid/CN=host of GRAM`], alice), { code: 0 }, 'unless the subject is given');

  const sleeping = (await submit('&(executable=/bin/sleep)', alice, '-b')).out.trim();
  t.match(sleeping, /^https:\/\/localhost:\d+\/job\d+\/s3cret\/:\/O=Grid\/CN=host of GRAM$/);
  t.match(await run(['globusrun', '-status', sleeping], alice), { code: 0, out: 'ACTIVE\n' });
  t.match(await run(['globusrun', '-status', sleeping], bob), { code: 162 }, 'not Bob\'s');
  t.match(await run(['globusrun', '-k', sleeping], bob), { code: 162 });
  const job = world.jobs.jobs.get(world.contacts.pathOf(sleeping) ?? '');
  const before = job?.credential.key;
  const longer = await world.proxy(alice, { minutes: 1200 });
  t.match(await run(['globusrun', '-y', sleeping], longer), { code: 0 });
  t.not(job?.credential.key, before, 'renewed');
  t.ok((job?.credential.notAfter.getTime() ?? 0) > Date.now() + 1000 * 60_000, 'as long as the new proxy');
  t.equal(job?.contacts.size, 0, 'globusrun -b has unregistered');
  t.match(await run(['globusrun', '-k', sleeping], alice), { code: 0 });
  t.match(await run(['globusrun', '-status', sleeping], alice), { out: 'FAILED\n' });
  t.match(await run(['globusrun', '-status', sleeping.replace(/job\d+/, 'job999')], alice), { out: 'DONE\n' }, 'no such job, as the original');

  t.match(await submit('&(executable=/bin/true)', alice, '-s'), { code: 0, out: 'hello from the job\n' }, 'output through GASS');
  t.match(await submit('&(executable=/bin/false)'), { code: 5, err: /Details: because "the test" said so/ });
  t.match(await submit('&(executable=/bin/true)(two_phase=yes)'), { code: 0, err: '' });
  t.match(await submit('&(executable=/bin/true)', alice, '-d'), { code: 0 });
  t.match(await submit('&(executable=/bin/true)(nonsense=1)'), { code: 1, err: /"nonsense" is not supported/ });
  t.match(await submit('&(executable=/bin/true)', alice, '-D', '-b'), { code: 0 });
  t.equal(world.jobs.submissions.at(-1)?.credential?.limited, false, 'a full proxy with -D');
  t.match(await run(['globusrun', '-q', '-b', '-r', `${at}/nowhere`, '&(executable=/bin/true)'], alice), { code: 93 });
  const long = 'x'.repeat(42_000);
  t.match(await submit(`&(executable=/bin/true)(arguments=${long})`, alice, '-b'), { code: 0 });
  t.ok(world.jobs.submissions.at(-1)?.rsl.includes(long), '42 kB');
  t.match(await submit(`&(executable=/bin/true)(arguments=${'x'.repeat(70_000)})`, alice, '-b'), { code: 10, err: /larger than 64000 bytes/ });
  t.match(await submit('&(executable=/bin/true)', await world.proxy(alice, { kind: 'ec' }), '-b'), { code: 0 }, 'an EC proxy');

  t.match(await run(['globus-job-run', at, '/bin/true'], alice), { code: 0, out: 'hello from the job\n' });
  const contact = (await run(['globus-job-submit', at, '/bin/sleep', '9'], alice)).out.trim();
  t.match(await run(['globus-job-status', contact], alice), { out: 'ACTIVE\n' });
  t.match(await run(['globus-job-cancel', '-f', contact], alice), { code: 0, out: /Job canceled/ });
  t.match(await run(['globus-job-get-output', '-r', at, contact], alice), { code: 0, out: 'hello from the job\n' });

  await t.test('who is not let in, and learns why', async (t) => {
    const limited = await world.proxy(alice, { limited: true });
    const stranger = await world.person('/O=Grid/CN=Alice Example', await makeAuthority({ subject: '/O=Else/CN=CA', days: 2, kind: 'rsa' }));
    const legacy = { ...alice, proxy: join(home, 'legacy.pem') };
    writeFileSync(join(home, 'user.pem'), alice.issuer.certificate);
    writeFileSync(join(home, 'user.key'), alice.issuer.key, { mode: 0o400 });
    spawnSync('grid-proxy-init', ['-q', '-old', '-cert', join(home, 'user.pem'), '-key', join(home, 'user.key'), '-out', legacy.proxy], { env: { ...process.env, X509_CERT_DIR: join(home, 'clients', 'trust') } });
    for (const [what, as] of [['banned', world.mallory], ['a limited proxy', limited], ['not in the map', await world.person('/O=Grid/CN=Nobody')], ['an authority that nobody knows', stranger], ['a legacy proxy', legacy]] as const) {
      t.match(await submit('&(executable=/bin/true)', as, '-b'), { code: 7, err: /authentication with the remote server failed/ }, what);
      t.match(await run(['globusrun', '-a', '-r', at], as), { code: 1 }, what);
    }
    const short = await world.proxy(alice, { minutes: 0.1 });
    const ended = pause(6500);
    const job = (await submit('&(executable=/bin/sleep)', short, '-F')).out.trim();
    await ended;
    t.not((await submit('&(executable=/bin/true)', short, '-b')).code, 0, 'expired');
    t.match(await run(['globusrun', '-status', job], alice), { out: 'ACTIVE\n' }, 'its job goes on');
    t.equal(await world.couriers.callback('https://localhost:5000/', world.jobs.jobs.get(world.contacts.pathOf(job) ?? '')!.credential, { path: '/x/', state: 2, failureCode: 0 }), 'gone', 'but nobody can be called with it');
    t.match(await run(['globusrun', '-k', job], alice), { code: 0 });
  });

  await t.test('a client that is killed in the middle', async (t) => {
    const known = world.jobs.jobs.size;
    await Promise.all(Array.from({ length: 12 }, (_, n) => run(['globusrun', '-q', '-b', '-r', at, '&(executable=/bin/sleep)'], alice, { killAfter: 5 + 6 * n })));
    t.match(await submit('&(executable=/bin/sleep)', alice, '-b'), { code: 0 });
    await pause(200);
    t.ok([...world.jobs.jobs.values()].slice(known, -1).every((each) => each.state === states.active), 'those that came through run, and their listeners are forgotten');
  });
});

t.test('what no real client does', async (t) => {
  const world = await startGramWorld(join(home, 'strange'));
  t.teardown(() => world.close());
  const { port, alice, bob } = world;
  const good = post('/jobmanager', submitBody('&(executable=/bin/sleep)'));
  const status = (text: string): string => /status: (\d+)/.exec(text)?.[1] ?? text.split('\r\n')[0] ?? '';

  t.equal(status(await ask({ port, as: alice, flag: 'D', request: good })), '0');
  t.equal(status(await ask({ port, as: alice, flag: '0', request: good })), '29', 'without a delegated proxy');
  t.equal(status(await ask({ port, as: alice, flag: 'D', request: good, sign: delegate(bob) })), '157', 'a proxy of somebody else');
  const other = await world.proxy(alice);
  t.equal(status(await ask({ port, as: alice, flag: 'D', request: good, sign: delegate(other) })), '157', 'a proxy by another proxy than that of the connection');
  t.equal(status(await ask({ port, as: alice, flag: 'D', request: good, sign: async () => other.credential.chain })), '157', 'a proxy for another key');
  t.equal(status(await ask({ port, as: alice, flag: 'D', request: good, sign: async () => '-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n' })), '157', 'no certificate');
  t.equal(await ask({ port, as: alice, flag: 'D', request: '', sign: async () => '-----BEGIN CERTIFICATE-----\nMYQA////\n-----END CERTIFICATE-----\n' }), '', 'no DER: closed');
  t.equal(status(await ask({ port, as: alice, flag: '0', request: post('/jobmanager@bob', submitBody('x')) })), 'HTTP/1.1 403 Forbidden');
  t.equal(status(await ask({ port, as: alice, flag: '0', request: post('/jobmanager', 'nonsense') })), '91');
  t.equal(status(await ask({ port, as: alice, flag: '0', request: 'POST /ping/jobmanager HTTP/1.1\r\nContent-Length: 0\r\n\r\n' })), 'HTTP/1.1 404 Not Found');
  t.equal(await ask({ port, as: alice, flag: '0', request: `POST /${'x'.repeat(9000)}` }), 'HTTP/1.1 ', 'an endless head');

  const [path = ''] = [...world.jobs.jobs.keys()];
  const query = (text: string, as = alice, version = 2): Promise<string> => ask({ port, as, flag: '', request: post(path, `protocol-version: ${version}\r\n"${text}"\r\n\0`) });
  const answered = async (reply: Promise<string>): Promise<string> => /status: (\d+)\r\nfailure-code: (\d+)/.exec(await reply)?.slice(1).join('/') ?? (await reply).split('\r\n')[0] ?? '';
  t.equal(await answered(query('status')), '2/0');
  t.equal(await answered(query('dance')), '4/92');
  t.equal(await answered(query('signal 99 x')), '4/108');
  t.equal(await answered(query('signal 5 commit')), '4/133');
  t.equal(await answered(query('unregister https://localhost:1/')), '4/78');
  t.equal(await answered(query('status', alice, 3)), '4/49');
  t.equal(await answered(query('status', bob)), '4/162');
  t.equal(await answered(query('status', world.mallory)), 'HTTP/1.1 403 Forbidden', 'banned since');
  t.equal(await answered(ask({ port, as: alice, flag: '', request: post('/no/such/', 'protocol-version: 2\r\n"status"\r\n') })), '0/156');
  t.equal(await answered(ask({ port, as: alice, flag: '', request: post(path, 'status') })), 'HTTP/1.1 400 Bad Request');

  await t.test('a listener that is somebody else gets not one byte', async (t) => {
    let got = 0;
    const { credential } = [...world.jobs.jobs.values()][0]!;
    for (const person of [bob, alice]) {
      const listener = createTls({ cert: person.credential.chain, key: person.credential.key, requestCert: true, rejectUnauthorized: false }, (socket) => socket.on('error', () => undefined).on('data', (chunk) => {
        got += chunk.length;
        socket.end('HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n');
      })).listen(0, '127.0.0.1');
      await once(listener, 'listening');
      const url = `https://127.0.0.1:${(listener.address() as { port: number }).port}/`;
      t.equal(await world.couriers.callback(url, credential, { path, state: 2, failureCode: 0 }), person === alice ? 'delivered' : 'gone');
      t.equal(got > 0, person === alice);
      t.equal(await outcome(world.couriers.read(url, credential, 5)), person === alice ? 'done' : 'not-authenticated', 'nor is it asked for a file');
      listener.close();
    }
    t.equal(await world.couriers.callback('https://127.0.0.1:1/', credential, { path, state: 2, failureCode: 0 }), 'gone');
    t.equal(await outcome(world.couriers.append('http://localhost:5000/dev/stdout', credential, (async function* () { yield Buffer.from('x'); })())), 'bad-request');
  });

  await t.test('garbage, a thousand half-open connections, and a client among them', async (t) => {
    const garbage = ['GET / HTTP/1.0\r\n\r\n', '\0\0\0\0', '\xff'.repeat(100), '\0\0\0\x05hello', '\x16\x03\x01\x00\x05hello', '\x16\x03', 'SSH-2.0-x\r\n', readFileSync(process.execPath).subarray(0, 300_000)];
    const sockets: Socket[] = [];
    const open = (first: string | Buffer): Socket => {
      const socket = connect(port, '127.0.0.1').on('error', () => undefined);
      if (first.length > 0) socket.write(typeof first === 'string' ? Buffer.from(first, 'latin1') : first);
      sockets.push(socket);
      return socket;
    };
    t.teardown(() => sockets.forEach((socket) => socket.destroy()));
    await Promise.all(garbage.map(async (bytes) => {
      const socket = open(bytes);
      if (bytes.length > 2) await new Promise((resolve) => socket.resume().once('close', resolve));
    }));
    for (let n = 0; n < 1000; n++) open(['', '\0', '\0\0\x01\x45\x16\x03', '\x16'][n % 4] ?? '');
    await pause(500);
    const begun = performance.now();
    t.equal(status(await ask({ port, as: alice, flag: '0', request: post('ping/jobmanager', '') })), 'HTTP/1.1 200 OK');
    t.ok(performance.now() - begun < 10_000, 'without waiting for their deadlines');
    if (hasClients) t.match(await world.run(['globusrun', '-q', '-b', '-r', `localhost:${port}`, '&(executable=/bin/true)'], alice), { code: 0 });
    const left = sockets.filter((socket) => !socket.destroyed).length;
    t.ok(left <= 502 && left > 400, `the oldest of them are gone, ${left} are left`);
  });
});

t.test('slow clients: served while they get on, gone at the deadline', { skip: hasClients ? false : 'globus-gram-client-tools is not installed' }, async (t) => {
  const world = await startGramWorld(join(home, 'slow'), { idleSeconds: 2, requestSeconds: 12 });
  t.teardown(() => world.close());
  const slow = await slowRelay(world.port, (n) => (n < 4 ? 1000 : n % 4 === 0 ? 1 : 0));
  const slower = await slowRelay(world.port, (n) => (n < 400 ? 0 : 1000));
  t.teardown(() => [slow, slower].forEach((each) => each.close()));
  const silent = connect(world.port, '127.0.0.1');
  const ping = (port: number): ReturnType<GramWorld['run']> => world.run(['globusrun', '-a', '-r', `localhost:${port}`], world.alice, { seconds: 30 });
  const [one, two, quick] = await Promise.all([ping(slow.port), ping(slower.port), ping(world.port), once(silent, 'close')]);
  t.match(one, { code: 0 }, `one byte a second, then one by one: served after ${Math.round(one.ms)} ms`);
  t.match(quick, { code: 0 });
  t.ok(quick.ms < 3000, 'others do not wait');
  t.not(two.code, 0, 'one byte a second to the end');
  t.ok(two.ms > 9_000 && two.ms < 16_000, `is cut off at the deadline (${Math.round(two.ms)} ms)`);
});
