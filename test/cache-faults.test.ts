/**
 * Faults around images at a real head with real nodes: packages that fail, a full disk, kill -9 at every step of a build; and the paper's way of
 * adding packages, in every node. Packages come from a server of our own, the base is lent.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { whyNoGrid } from './support/grid.js';
import { lendBase, testBase, workshop } from './support/layers.js';
import { holdings, leaked, traces } from './support/leaks.js';
import { live, oneHead, type OneHead } from './support/one-head.js';
import { partSpec } from './support/part-spec.js';
import { PackageServer } from './support/package-server.js';

process.env['no_proxy'] = '127.0.0.1';
const why = whyNoGrid();
if (why !== undefined) t.test('faults around images', { skip: why }, async () => {});
else {
  const machine = holdings();
  t.setTimeout(1_500_000);
  t.test('faults around images', async (t) => {
    const world = await oneHead(t, 'faults');
    const { head, site } = world;
    const home = join(site.home, 'state');
    const server = new PackageServer(join(site.home, 'packages'));
    server.add(
      { name: 'gv-lib', bytes: 100_000 }, { name: 'gv-a', depends: 'gv-lib' }, { name: 'gv-b', depends: 'gv-lib' }, { name: 'gv-moved' }, { name: 'gv-bad', postinst: 'echo about to fail\nexit 7' },
      { name: 'gv-slow', postinst: 'sleep 3', bytes: 20_000_000 }, { name: 'gv-big', bytes: 14_000_000 }, { name: 'gv-bigger', bytes: 30_000_000 }, { name: 'gv-huge', bytes: 80_000_000 },
    );
    await server.start();
    t.teardown(() => server.stop());
    const sources = join(site.home, 'test.list');
    writeFileSync(sources, server.source);
    world.configure((config) => Object.assign(config, { apt: { sources }, cache: { idleSeconds: 600 } }));
    await lend(world, home);
    mkdirSync(join(home, 'staging'));
    await world.start();

    await t.test('kill -9 while the base image is made', async (t) => {
      const fresh = join(site.home, 'fresh');
      const config = readFileSync(site.config, 'utf8');
      await world.stop();
      world.configure((settings) => Object.assign(settings, { home: fresh, apt: {} }));
      await world.start();
      const building = (): string[] => (existsSync(join(fresh, 'staging')) ? readdirSync(join(fresh, 'staging')).filter((name) => existsSync(join(fresh, 'staging', name, 'root/var'))) : []);
      await until(async () => building().length > 0);
      const [half] = building();
      world.kill();
      t.same(await heldBelow(join(fresh, 'staging')), []);
      await world.start();
      t.notOk(building().includes(half ?? ''), 'the half one is gone');
      await world.stop();
      t.same(await heldBelow(join(fresh, 'staging')), [], 'and an ordinary stop in the middle leaves nothing');
      t.same(existsSync(join(fresh, 'layers')) ? readdirSync(join(fresh, 'layers')) : [], []);
      writeFileSync(site.config, config);
      await lend(world, home); // that head has found no file for its row
      await world.start();
    });

    await t.test('a maintainer script that fails: the package is named, the end of its log shown, nothing cached', async (t) => {
      const before = await traces(home);
      await head.createPart(partSpec(id('bad'), 1, ['gv-bad']));
      const part = await world.reach(id('bad'), live);
      t.equal(part.state, 'failed');
      t.match(part.reason, /package gv-bad failed to install[^]*about to fail[^]*leave gv-bad out/);
      t.same((await traces(home, before)).filter((line) => !line.includes('/archives/') && !line.includes(' apt')), []);
    });

    await t.test('kill -9 at each step of a build: nothing of it is left, and the request goes on', async (t) => {
      for (const [n, step] of ['download', 'install', 'pack'].entries()) {
        server.add({ name: `gv-slow${n}`, postinst: 'sleep 2', bytes: 30_000_000 });
        execFileSync('rm', ['-f', join(home, 'apt/bookworm/updated')]);
        server.delayMs = step === 'download' ? 2000 : 0;
        const cluster = id(`k${n}`);
        await head.createPart(partSpec(cluster, 1, [`gv-slow${n}`]));
        await eventOf(world, cluster, new RegExp(`^${step}: `));
        world.kill();
        t.same(await heldBelow(join(home, 'staging')), [], `${step}: no process, mount or loop device`);
        const left = readdirSync(join(home, 'staging'));
        await world.start();
        t.same(readdirSync(join(home, 'staging')).filter((name) => left.includes(name)), [], `${step}: the head's start has cleared the half build`);
        server.delayMs = 0;
        const part = await world.reach(cluster, live);
        t.equal(part.state, 'joining', `${step}: ${part.reason ?? 'resumed'}`);
        await head.destroyPart(cluster);
        await world.reach(cluster, ['destroyed']);
      }
      const known = new Set((await (await world.database()).rows<{ digest: string }>('stockedLayers')).map(({ digest }) => digest));
      const files = readdirSync(join(home, 'layers')).filter((name) => name.endsWith('.sqfs')).map((name) => name.slice(0, 64));
      t.same(files.filter((digest) => !known.has(digest)), [], 'every layer file has its row');
    });

    await t.test('kill -9 while an image is made in idle time, and after it', async (t) => {
      const db = await world.database();
      for (const n of [1, 2, 3]) await db.rows('insertRequest', id(`h${n}`), '/O=Grid/CN=Alice', JSON.stringify({ os: 'bookworm', packages: ['gv-slow', 'gv-b'], bundles: [] }), new Date());
      for (const n of [1, 2, 3]) await db.rows('setState', id(`h${n}`), 'destroyed', null);
      world.configure((config) => Object.assign(config, { cache: { idleSeconds: 0, leastSeconds: 0 } }));
      await world.stop();
      await world.start();
      await until(async () => (await traces(join(home, 'staging'))).some((line) => line.includes('gv-slow')));
      world.kill();
      t.same(await heldBelow(join(home, 'staging')), []);
      await world.start();
      const made = async (): Promise<string | undefined> => (await db.rows<{ kind: string; key: string }>('stockedImages')).find(({ kind }) => kind === 'cache')?.key;
      await until(async () => (await made()) !== undefined);
      world.configure((config) => Object.assign(config, { cache: { idleSeconds: 600 } }));
      await world.stop();
      await world.start();
      const plan = await head.plan({ memory: 320, disk: 1600, vcpus: 1, os: 'bookworm', packages: ['gv-slow', 'gv-b'], bundles: [] }, 2);
      t.match(plan.reason, /^cache image c\d+: saves/);
      t.notOk(plan.stages.some(({ stage }) => stage === 'install'));
    });

    await t.test('the mirror has moved on since the lists were read: new lists, a new plan, no failure', async (t) => {
      await head.plan({ memory: 320, disk: 1600, vcpus: 1, os: 'bookworm', packages: ['gv-moved'], bundles: [] }, 1);
      server.add({ name: 'gv-moved', version: '2.0' });
      rmSync(join(site.home, 'packages', 'gv-moved_1.0_all.deb'));
      await head.createPart(partSpec(id('moved'), 1, ['gv-moved']));
      const part = await world.reach(id('moved'), live);
      t.equal(part.state, 'joining', part.reason ?? '');
      t.equal(readFileSync(join(site.host, 'nodes', `${id('moved')}-n1`, 'root/usr/share/gv-moved/version'), 'utf8'), '2.0\n');
      t.ok((await head.awaitPartEvents(id('moved'), 0, 0)).some(({ kind, text }) => kind === 'warning' && /package lists were old/.test(text)));
      await head.destroyPart(id('moved'));
      await world.reach(id('moved'), ['destroyed']);
    });

    await t.test("the paper's way: every node installs by itself, when that is predicted to be quicker", async (t) => {
      const db = await world.database();
      for (let n = 0; n < 30; n++) {
        await db.rows('insertPackageTimings', `cslow${n}`, ['gv-a'], ['1.0'], ['unpack'], [30], [1000], [5]);
        await db.rows('insertTiming', `cslow${n}`, '', 'install', 1000, 1, new Date(), 31, null, 0, 1, 1, false, 'head', null);
        await db.rows('insertTiming', `cfast${n}`, '', 'install', 1000, 1, new Date(), 1, null, 0, 1, 1, false, 'nodes', 30);
      }
      const cluster = id('in');
      await head.createPart(partSpec(cluster, 2, ['gv-a'], { memory: 320, disk: 1600 }));
      const part = await world.reach(cluster, live);
      t.equal(part.state, 'joining', part.reason ?? '');
      t.match(part.plan.reason, /installed in every node$/);
      t.match(part.plan.alternatives, [{ name: /in every node$/, chosen: true }]);
      t.ok(part.measured.some(({ stage, seconds }) => stage === 'install' && seconds > 0));
      for (const node of ['n1', 'n2']) t.equal(readFileSync(join(site.host, 'nodes', `${cluster}-${node}`, 'root/usr/share/gv-a/version'), 'utf8'), '1.0\n', `${node} has it`);
      t.equal((await db.rows<{ node: string }>('nodeTimingsOf', cluster)).length, 2, 'each node has its own row');

      for (let n = 0; n < 30; n++) {
        await db.rows('insertPackageTimings', `cbad${n}`, ['gv-bad'], ['1.0'], ['unpack'], [30], [1000], [5]);
        await db.rows('insertTiming', `cbad${n}`, '', 'install', 1000, 1, new Date(), 31, null, 0, 1, 1, false, 'head', null);
      }
      await head.createPart(partSpec(id('inbad'), 2, ['gv-bad'], { memory: 320, disk: 1600 }));
      const failed = await world.reach(id('inbad'), live);
      t.equal(failed.state, 'failed');
      t.match(failed.reason, /package gv-bad failed to install[^]*about to fail/);
      await head.destroyPart(cluster);
      await world.reach(cluster, ['destroyed']);
    });

    await t.test('a full disk: the request fails with what to do, others go on; what the cache can spare is given up first', async (t) => {
      await world.stop();
      const small = join(site.home, 'small');
      const base = await testBase();
      mkdirSync(small);
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${Math.ceil(base.bytes / 1e6) + 75}m`, 'tmpfs', small]);
      t.teardown(() => execFileSync('umount', ['-l', small]));
      world.configure((config) => Object.assign(config, { home: small }));
      await lend(world, small);
      await world.start();
      await head.createPart(partSpec(id('huge'), 1, ['gv-huge']));
      await head.createPart(partSpec(id('fine'), 1, ['gv-a']));
      const [huge, fine] = [await world.reach(id('huge'), live), await world.reach(id('fine'), live)];
      t.match(huge, { state: 'failed', reason: /no space left|disk/i });
      t.match(huge.reason, /free space|more space|remove/i);
      t.equal(fine.state, 'joining', fine.reason ?? '');
      t.same((await traces(join(small, 'staging'), ['nothing'])), []);
      await head.createPart(partSpec(id('big'), 1, ['gv-big']));
      t.equal((await world.reach(id('big'), live)).state, 'joining');
      await head.destroyPart(id('big'));
      await world.reach(id('big'), ['destroyed']);
      await head.createPart(partSpec(id('bigger'), 1, ['gv-bigger']));
      const bigger = await world.reach(id('bigger'), live);
      t.equal(bigger.state, 'joining', bigger.reason ?? '');
      t.ok((await head.awaitPartEvents(id('bigger'), 0, 0)).some(({ kind, text }) => kind === 'warning' && /MB of the cache were given up/.test(text)), 'and says so');
      for (const name of ['fine', 'bigger']) {
        await head.destroyPart(id(name));
        await world.reach(id(name), ['destroyed']);
      }
      await world.stop();
    });
  });
  t.test('the machine is as before', async (t) => t.same(await leaked(machine), []));
}

/** A name that fits: a letter and seven more. */
function id(name: string): string {
  return `f${name}`.padEnd(8, '0');
}

/** The head finds a base, as if it had made it. */
async function lend(world: OneHead, home: string): Promise<void> {
  const base = await testBase();
  lendBase(base, home);
  const db = await world.database();
  await db.rows('putLayer', base.digest, 'base', base.os, base.bytes, workshop(home).builder.recipe);
}

async function eventOf({ head }: OneHead, cluster: string, what: RegExp): Promise<void> {
  for (let after = 0, left = 60; left > 0; left--) {
    const events = await head.awaitPartEvents(cluster, after, 1);
    if (events.some(({ text }) => what.test(text))) return;
    after = events.at(-1)?.sequence ?? after;
  }
  throw new Error(`${cluster} never said ${String(what)}`);
}

/** Processes, mounts and loop devices below a directory, after a moment to end. */
async function heldBelow(dir: string): Promise<string[]> {
  return (await traces(dir, ['nothing'])).filter((line) => !line.startsWith('file '));
}

async function until(look: () => Promise<boolean>): Promise<void> {
  for (let left = 300; left > 0; left--) {
    if (await look()) return;
    await pause(100);
  }
  throw new Error('it did not come about within half a minute');
}
