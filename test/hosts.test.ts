/** A head's hosts on a real PostgreSQL, with a driver that has no hypervisor: the register, unknown answers, dead nodes. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import type { HostRegistration } from '../src/domain/admin-views.js';
import { AnswerUnknown, GridError } from '../src/domain/error.js';
import type { Layer } from '../src/domain/image.js';
import type { PartSpec } from '../src/domain/node.js';
import type { HeadParts } from '../src/head/bring-up.js';
import { parseHeadConfig, parseHost, type HostConfig } from '../src/head/config.js';
import { HostRegister } from '../src/head/host-admin.js';
import { Hosts } from '../src/head/hosts.js';
import { Kernels } from '../src/head/kernels.js';
import { Parts } from '../src/head/parts.js';
import { Replacements } from '../src/head/replace.js';
import { bringImage, startNode } from '../src/head/start-node.js';
import { makeLog } from '../src/log.js';
import type { HypervisorDriver, NodeTransport } from '../src/ports.js';
import { openDatabase, type Database } from '../src/store/database.js';
import { openSecrets } from '../src/store/secrets.js';
import { FakeDriver } from './support/fake-driver.js';
import { testPostgres } from './support/postgres.js';

const root = join(import.meta.dirname, '..', '..');
const log = makeLog('test', 'fatal');
const base: Layer = { digest: 'a'.repeat(64), kind: 'base', bytes: 10 };
const registration: HostRegistration = {
  name: 'dom0-1', kind: 'xen', address: '10.77.0.11', port: 22, user: 'root', key: '/etc/gridvc/hosts.key', hostKey: `ssh-ed25519 ${'A'.repeat(68)}`, home: '/var/lib/gridvc/nodes',
  bridge: 'xenbr0', subnet: '10.77.0.0/24', gateway: '10.77.0.1', first: '10.77.0.100', last: '10.77.0.110',
};
const fixed = parseHost({ name: 'local1', kind: 'container', transport: { kind: 'local' }, home: '/var/lib/gridvc/nodes', network: { bridge: 'gvbr0', subnet: '192.168.77.0/24', gateway: '192.168.77.1', first: '192.168.77.10', last: '192.168.77.20' } });

t.test('settings of hosts are read strictly', async (t) => {
  const host = (more: object): unknown => ({ ...fixed, ...more });
  const refused = (value: unknown, text: RegExp): unknown => t.throws(() => parseHost(value), { message: text });
  refused(host({ kind: 'vmware' }), /kind/);
  refused(host({ type: 'pvh' }), /type: is a setting of xen hosts only/);
  refused(host({ typo: 1 }), /typo/);
  const ssh = { kind: 'ssh', address: 'h', key: '/k' };
  refused(host({ transport: ssh }), /either knownHosts .* or hostKey/);
  refused(host({ transport: { ...ssh, knownHosts: '/h', hostKey: registration.hostKey } }), /either knownHosts .* or hostKey/);
  refused(host({ transport: { ...ssh, hostKey: 'ssh-ed25519 AAAA\nx' } }), /hostKey/);
  refused(host({ transport: { ...ssh, address: '-oProxyCommand=x', hostKey: registration.hostKey } }), /address/);
  t.match(parseHost(host({ kind: 'xen', type: 'pvh', transport: { ...ssh, hostKey: registration.hostKey } })), { kind: 'xen', type: 'pvh', transport: { port: 22, user: 'root' } });
  const file = (hosts: string): string => `site: alpha\nlisten: { port: 0 }\nhome: /h\ncertificate: /c\nkey: /k\ntrust: /t\ngatekeeper: /O=Grid/CN=g\n${hosts}`;
  t.same(parseHeadConfig(file(''), 'head.yaml').hosts, [], 'all hosts may be registered');
});

if (!existsSync('/usr/lib/postgresql')) t.comment('PostgreSQL is not installed: left out');
else
  t.test('with a private PostgreSQL', { timeout: 300_000 }, async (t) => {
    const server = await testPostgres(t);
    const open = async (t_: typeof t, name: string): Promise<Database> => {
      const db = await openDatabase({ url: server.url(name), schema: 'head', migrations: join(root, 'sql/head'), queries: join(root, 'sql/head/queries.sql') });
      t_.teardown(() => db.close());
      return db;
    };

    await t.test('a host comes, is drained and goes while the head runs', async (t) => {
      const db = await open(t, 'register');
      const drivers = new Map<string, FakeDriver>();
      const make = (settings: HostConfig) => {
        const driver = new FakeDriver(settings.name, new Set([base.digest]));
        drivers.set(settings.name, driver);
        return { name: settings.name, home: settings.home, transport: nowhere(settings.name), driver, network: settings.network };
      };
      const hosts = await Hosts.open({ fixed: [fixed], make, db, log });
      await hosts.check();
      const register = new HostRegister(hosts, db);
      t.match(await register.list(), [{ name: 'local1', registered: false, usable: true, about: 'fake', nodes: 0 }]);
      t.match(await register.add(registration), { name: 'dom0-1', kind: 'fake', registered: true, usable: true, address: '10.77.0.11', memory: 4000, freeMemory: 4000, problems: [] });
      t.match(await hosts.capacities(), [{ host: 'dom0-1' }, { host: 'local1' }], 'nodes can go there at once');
      const added = drivers.get('dom0-1');
      const check = added?.check.bind(added);
      if (added !== undefined && check !== undefined) added.check = () => ((added.check = check), Promise.reject(new AnswerUnknown('host dom0-1: the connection was lost while sh ran')));
      t.match(await register.check('dom0-1'), { usable: true, problems: [] }, 'a connection lost in the look says nothing of the host: it looks again');
      t.match((await Hosts.open({ fixed: [fixed], make, db, log })).all.map(({ name }) => name), ['local1', 'dom0-1'], 'and after a restart');
      await t.rejects(register.add({ ...registration, name: 'local1' }), { kind: 'conflict', message: /in the head's configuration file/ });
      await t.rejects(register.add({ ...registration, home: '/x/../y' }), { message: /not an absolute path/ });
      await t.rejects(register.add({ ...registration, hostKey: 'x' }), { kind: 'bad-request', message: /transport.hostKey/ });
      await t.rejects(register.check('dom0-7'), { message: /no host "dom0-7"/, hint: /local1, dom0-1/ });

      const parts = new Parts('alpha', db, await openSecrets<PartSpec>(join(server.home, 'secrets-register')));
      await parts.insert(spec('gvhosta1', 1, 1), (tx) => hosts.place(tx, ['n1'], { memory: 3999, disk: 100, vcpus: 1 }).catch(() => [{ name: 'n1', host: 'dom0-1', address: '10.77.0.100' }]));
      const host = (await parts.nodes('gvhosta1'))[0]?.host ?? '';
      const other = host === 'dom0-1' ? registration : undefined;
      t.match(await register.setState('dom0-1', 'draining'), { state: 'draining', usable: false });
      t.same((await hosts.capacities()).map((one) => one.host), ['local1'], 'no new nodes there');
      if (other) {
        await t.rejects(register.remove('dom0-1'), { kind: 'wrong-state', message: /still has nodes of gvhosta1 \(1\)/ });
        await t.rejects(register.add({ ...other, address: '10.77.0.99' }), { kind: 'wrong-state', message: /its address, kind, home and network stay/ });
      }
      await parts.gone('gvhosta1');
      await t.rejects(register.remove('local1'), { kind: 'wrong-state', message: /configuration file/ });
      await register.remove('dom0-1');
      t.same((await register.list()).map(({ name }) => name), ['local1']);
      t.throws(() => hosts.get('dom0-1'), { kind: 'unavailable', message: /no longer one of this head's/ });
      t.match(await register.add(registration), { state: 'open', usable: true }, 'it may come again');
    });

    /** A head of one host without a hypervisor, and a ready part of three nodes on it. */
    const readyPart = async (t_: typeof t, name: string, minCount: number) => {
      const db = await open(t_, name);
      const driver = new FakeDriver('h1', new Set([base.digest]));
      const hosts = await Hosts.open({ fixed: [{ ...fixed, name: 'h1' }], make: (settings) => ({ name: 'h1', home: settings.home, transport: nowhere('h1'), driver, network: settings.network }), db, log });
      await hosts.check();
      const parts = new Parts('alpha', db, await openSecrets<PartSpec>(join(server.home, `secrets-${name}`)));
      const head = { site: 'alpha', db, parts, hosts, distributor: { distribute: async () => ({ bytes: 0 }) }, contextOf: () => [] } as unknown as HeadParts;
      const part = spec('gvdeada1', 3, minCount);
      await parts.insert(part, (tx) => hosts.place(tx, part.nodes.map((node) => node.name), part));
      for (const state of ['building', 'launching', 'joining', 'ready'] as const) await parts.become(part.cluster, state);
      await parts.setImage(part.cluster, [base]);
      const { image } = await bringImage(head, part, hosts.get('h1'), [base], new AbortController().signal);
      for (const node of await parts.nodes(part.cluster)) {
        await startNode(head, part, hosts.get('h1'), image, node, new AbortController().signal);
        await parts.setNode(part.cluster, node.name, 'running');
      }
      const replacements = new Replacements(head, log);
      t_.teardown(() => replacements.close());
      const dies = async (node: string): Promise<void> => {
        driver.die({ cluster: part.cluster, node }, 'Kernel panic');
        await parts.setNode(part.cluster, node, 'failed', 'stopped by itself');
        await replacements.look(part.cluster);
        for (let left = 100; left > 0 && ['n1', 'n2', 'n3'].some((name) => replacements.works(part.cluster, name)); left--) await pause(20);
      };
      const states = async (): Promise<string> => (await parts.nodes(part.cluster)).map(({ state }) => state).join(' ');
      return { part, head, driver, parts, replacements, dies, states, image, host: hosts.get('h1') };
    };

    await t.test('a dead node is made again while fewer run than the request needs', async (t) => {
      const { part, driver, parts, dies, states } = await readyPart(t, 'replace', 2);
      const [before] = await parts.nodes(part.cluster);
      await dies('n1');
      t.equal(await states(), 'failed running running', 'two are enough');
      await dies('n2');
      t.equal(await states(), 'running failed running', 'the one that died first comes back');
      t.same(driver.done.slice(-3), ['remove gvdeada1-n1', 'define gvdeada1-n1', 'start gvdeada1-n1'], 'on a new disk');
      t.match((await parts.nodes(part.cluster))[0], { name: 'n1', host: 'h1', address: before?.address, replaced: 1, reason: 'replaced' });
      t.ok((await parts.events(part.cluster, 0, 0)).some(({ node, text }) => node === 'n1' && text === 'replacing it on h1: the same name, addresses and certificate, a new disk'), 'an event tells it');

      driver.beforeStart = () => {
        throw new GridError('no-capacity', 'host h1: not enough memory');
      };
      for (let i = 0; i < 8; i++) await dies('n1');
      const [n1, n2] = await parts.nodes(part.cluster);
      t.same([n1?.replaced, n2?.replaced, n1?.state, n2?.state], [3, 3, 'failed', 'failed'], 'each three times, then it is left');
      t.ok((await parts.events(part.cluster, 0, 0)).some(({ text }) => /could not be replaced: host h1: not enough memory/.test(text)), 'with the reason');
    });

    await t.test('a cluster that is destroyed gets no new nodes', async (t) => {
      const { part, driver, replacements, dies, states } = await readyPart(t, 'stopped', 3);
      driver.beforeStart = () => pause(300);
      const dying = dies('n3');
      await pause(100);
      await replacements.stop(part.cluster);
      t.notOk(replacements.works(part.cluster, 'n3'), 'when stop returns nothing works any more');
      await dying;
      t.match(await states(), /running running/);
    });

    await t.test('an unknown answer: look, then decide', async (t) => {
      const { part, head, driver, parts, image, host } = await readyPart(t, 'unknown', 3);
      await driver.remove({ cluster: part.cluster, node: 'n1' });
      const [n1] = await parts.nodes(part.cluster);
      if (n1 === undefined) throw new Error('no node');
      let cuts = 0;
      const real = driver.start.bind(driver);
      const cut = Object.assign(Object.create(driver) as HypervisorDriver, {
        async start(id: { cluster: string; node: string }) {
          await real(id); // it was done, but the answer is lost
          if (cuts++ < 4) throw new AnswerUnknown('host h1: the connection was lost while sh ran');
        },
      });
      const before = driver.done.length;
      await startNode(head, part, { ...host, driver: cut }, image, n1, new AbortController().signal);
      t.same(driver.done.slice(before), ['define gvdeada1-n1', 'start gvdeada1-n1'], 'started once, although asked five times');
      t.ok((await parts.events(part.cluster, 0, 0)).some(({ text }) => /connection was lost while sh ran; waiting for the host/.test(text)));
      const away = Object.assign(Object.create(driver) as HypervisorDriver, { define: () => Promise.reject(new GridError('unavailable', 'host h1 cannot be used')) });
      await t.rejects(startNode(head, part, { ...host, driver: away }, image, n1, new AbortController().signal), { message: 'host h1 cannot be used' }, 'a host that was never reached is not waited for');
    });

    await t.test('kernels: made once for two who ask, again for a new version', async (t) => {
      const db = await open(t, 'kernels');
      let version = 1;
      const built: string[] = [];
      const files = new Set<string>();
      const kernels = new Kernels(db, {
        recipe: async () => `r${version}`,
        has: async (digest) => files.has(digest),
        build: async () => {
          await pause(50);
          const digest = String(built.length).repeat(64);
          built.push(digest);
          files.add(digest);
          return { digest, kind: 'kernel', bytes: 5 };
        },
      });
      const { signal } = new AbortController();
      const [one, two] = await Promise.all([kernels.layer('bookworm', signal), kernels.layer('bookworm', signal)]);
      t.same([one, two, built.length], [one, one, 1]);
      t.same(await kernels.layer('bookworm', signal), one);
      files.clear();
      t.not((await kernels.layer('bookworm', signal)).digest, one.digest, 'a lost file is made again');
      version = 2;
      await kernels.layer('bookworm', signal);
      t.equal(built.length, 3);
    });
  });

function nowhere(host: string): NodeTransport {
  const refuse = (): Promise<never> => Promise.reject(new Error('no transport in this test'));
  return { host, run: refuse, putFile: refuse, close: async () => {} };
}

function spec(cluster: string, count: number, minCount: number): PartSpec {
  return {
    cluster, owner: '/O=Grid/CN=Alice', memory: 100, disk: 400, vcpus: 1, os: 'bookworm', packages: [], bundles: [], expires: Date.now() + 600_000, minCount,
    nodes: Array.from({ length: count }, (_, n) => ({ name: `n${n + 1}`, overlayAddress: `10.128.0.${10 + n}`, certificate: '', key: '', hostKey: '', hostKeyPublic: '' })),
    overlay: { hubHost: '', hubPort: 1, ca: '', hubName: '', netmask: '' }, hosts: '', hostfile: '', knownHosts: '', authorizedKeys: [], clusterKey: '', clusterKeyPublic: '', files: [],
  };
}
