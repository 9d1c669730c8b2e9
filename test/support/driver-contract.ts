/**
 * What every kind of node promises (HypervisorDriver in src/ports.ts), as one suite: over containers and the fake in
 * npm test, over real Xen domains in npm run test:xen.
 */
import type { Test } from 'tap';
import { isGridError, type ErrorKind } from '../../src/domain/error.js';
import type { ContextFile, NodeDefinition, NodeId } from '../../src/domain/node.js';
import type { CommandResult, ConsoleReader, HypervisorDriver, NodeTransport, RunOptions } from '../../src/ports.js';

export type Driver = HypervisorDriver & ConsoleReader;

export interface ContractSite {
  readonly driver: Driver;
  /** A new driver for the same host over this transport; undefined if the kind needs none (the fake). */
  readonly over?: (wrap: (transport: NodeTransport) => NodeTransport) => Driver;
  /** A definition with the layers of a base image and a network address of its own for each node number. */
  definition(id: NodeId, context?: readonly ContextFile[]): NodeDefinition;
  /** Runs a command as the grid user in a running node; undefined if its nodes are not real. */
  readonly inNode?: (node: NodeDefinition, command: string) => Promise<CommandResult>;
  /** What the host holds for nodes: files, mounts, loop devices, links, domains. */
  traces(): Promise<readonly string[]>;
  /** Milliseconds after which a call's shell dies, one round each. */
  readonly cuts: readonly number[];
  /** Nodes to be started at once. */
  readonly many: number;
}

/** Clusters of this suite only: leftovers are recognized. */
const cluster = 'gvtestc1';
const one: NodeId = { cluster, node: 'n1' };

export async function driverContract(t: Test, site: ContractSite): Promise<void> {
  const { driver, inNode } = site;
  const running = async (): Promise<string[]> => (await driver.list()).filter(({ id, state }) => id.cluster === cluster && state === 'running').map(({ id }) => id.node).sort();
  const state = async (id: NodeId): Promise<string | undefined> => (await driver.list()).find((entry) => entry.id.cluster === id.cluster && entry.id.node === id.node)?.state;
  await t.test(`the contract of drivers: ${driver.kind}`, async (t) => {
    await driver.remove(one);
    await driver.define(site.definition({ cluster, node: 'n9' })); // makes what is kept: the template of this disk size
    await driver.remove({ cluster, node: 'n9' });
    const before = await site.traces();
    const clean = async (what: string): Promise<unknown> => t.same(await settled(site, before), [], what);

    const refused = async (work: Promise<unknown>, kind: ErrorKind): Promise<unknown> => t.ok(isGridError(await work.catch((error: unknown) => error), kind), `refused: ${kind}`);

    await t.test('a node that never was', async (t) => {
      t.equal(await state(one), undefined);
      await refused(driver.start(one), 'not-found');
      await driver.stop(one);
      await driver.remove(one);
      t.equal(await driver.console(one), '');
      await clean('nothing came of it');
    });

    await t.test('defined, started, each twice; its own files are there', async (t) => {
      const mine: ContextFile = { path: '/home/grid/mine', mode: 0o600, uid: 1000, gid: 1000, content: Buffer.from('mine\n') };
      const node = site.definition(one, [mine]);
      await driver.define(node);
      t.equal(await state(one), 'defined');
      await driver.define(node);
      await driver.start(one);
      await driver.start(one);
      t.equal(await state(one), 'running');
      await driver.define(node);
      t.equal(await state(one), 'running', 'defining again leaves a running node alone');
      if (inNode) t.match(await inNode(node, 'hostname; cat mine; stat -c %U:%a mine; test -c /dev/net/tun && echo tun; cat /proc/1/comm'), { code: 0, stdout: 'n1\nmine\ngrid:600\ntun\nrunsvdir\n' });
      if (inNode) t.match(await inNode(node, 'df --output=size -m / | tail -1'), { stdout: new RegExp(`^ *[${node.disk > 999 ? '0-9' : '1-9'}][0-9]{2,3}\n$`) });
    });

    await t.test('stopped and started again it has its disk; removed it has nothing', async (t) => {
      const node = site.definition(one);
      if (inNode) t.match(await inNode(node, 'echo kept > kept; sync'), { code: 0 });
      await driver.stop(one);
      await driver.stop(one);
      t.equal(await state(one), 'defined');
      t.type(await driver.console(one), 'string');
      await driver.start(one);
      if (inNode) t.match(await inNode(node, 'cat kept'), { stdout: 'kept\n' });
      await driver.remove(one);
      await driver.remove(one);
      t.equal(await state(one), undefined);
      t.equal(await driver.console(one), '');
      await clean('no file, mount, device or link is left');
      await driver.define(node);
      await driver.start(one);
      if (inNode) t.match(await inNode(node, 'ls kept'), { code: 2 }, 'a new disk');
      await driver.remove(one);
    });

    const { over } = site;
    if (over) {
      await t.test('a crash in the middle of anything: the same call again finishes it', async (t) => {
        const node = site.definition(one);
        for (const ms of site.cuts) {
          const dying = over((transport) => new DyingTransport(transport, ms));
          await dying.define(node).catch(() => undefined);
          await driver.define(node);
          await dying.start(one).catch(() => undefined);
          await driver.start(one);
          t.equal(await state(one), 'running', `define and start, cut after ${ms} ms`);
          if (inNode) t.match(await inNode(node, 'hostname'), { stdout: 'n1\n' });
          await dying.remove(one).catch(() => undefined);
          await driver.remove(one);
          await clean(`remove, cut after ${ms} ms`);
        }
      });
    }

    await t.test('many at once', async (t) => {
      const ids = Array.from({ length: site.many }, (_, i) => ({ cluster, node: `n${i + 1}` }));
      const begun = performance.now();
      await Promise.all(ids.map(async (id) => {
        await driver.define(site.definition(id));
        await driver.start(id);
      }));
      t.comment(`${site.many} nodes defined and started in ${((performance.now() - begun) / 1000).toFixed(2)} s`);
      t.equal((await running()).length, site.many);
      await Promise.all(ids.map((id) => driver.remove(id)));
      await clean('all are gone');
    });

    await t.test('what cannot work is said, with the host and the node', async (t) => {
      const lost = { ...site.definition(one), layers: ['f'.repeat(64)] };
      const refusal = await driver.define(lost).then(() => undefined, (error: unknown) => error);
      t.ok(isGridError(refusal, 'unavailable') && /gvtestc1-n1/.test(refusal.message) && /layer f+ is not on this host/.test(refusal.message), String(refusal));
      await refused(driver.define({ ...lost, id: { cluster: '../../x', node: 'n1' } }), 'bad-request');
      await refused(driver.define({ ...site.definition(one), network: { address: 'x', gateway: '1' } }), 'bad-request');
      await driver.remove(one);
      await clean('nothing came of it');
    });
  });
}

/** What is there beyond `before`; a dying process or device needs a moment. */
async function settled(site: ContractSite, before: readonly string[]): Promise<readonly string[]> {
  for (let left = 20; ; left--) {
    const after = await site.traces();
    const found = [...after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`), ...before.filter((line) => !after.includes(line)).map((line) => `- ${line}`)];
    if (found.length === 0 || left === 0) return found;
    await new Promise((wake) => setTimeout(wake, 250));
  }
}

/** Loses the host's shell after some milliseconds, as a crash of the head or the host would. */
class DyingTransport implements NodeTransport {
  readonly host: string;
  constructor(private readonly transport: NodeTransport, private readonly ms: number) {
    this.host = transport.host;
  }
  async run(argv: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
    if (!argv.some((word) => ['define', 'start', 'remove'].includes(word))) return this.transport.run(argv, options);
    return this.transport.run(argv, { ...options, seconds: this.ms / 1000 });
  }
  putFile(local: string, remote: string): Promise<{ bytes: number }> {
    return this.transport.putFile(local, remote);
  }
  async close(): Promise<void> {}
}
