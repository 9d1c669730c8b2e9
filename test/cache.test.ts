/**
 * The cache repository on real parts: PostgreSQL, apt, dpkg, squashfs, and a package server of our own that gets newer versions and goes
 * away. No nodes: what a request is given, what is made in idle time, what goes.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeSync, closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import type { StockedImage } from '../src/head/stocked-image.js';
import { headWorld, type HeadWorld } from './support/head-world.js';
import { traces } from './support/leaks.js';
import { testCache, whyNoImages } from './support/layers.js';
import { testPostgres } from './support/postgres.js';
import { refusal } from './support/refusal.js';

const why = whyNoImages();
if (why !== undefined) t.test('the cache repository', { skip: why }, async () => {});
else {
  t.setTimeout(1_200_000);
  t.test('the cache repository', async (t) => {
    const postgres = await testPostgres(t);
    const scratch = mkdtempSync(join(testCache.startsWith('/var') ? '/var/tmp' : tmpdir(), 'gridvc-cache-'));
    t.teardown(() => rmSync(scratch, { recursive: true, force: true }));
    let number = 0;
    const world = async (t: Parameters<typeof headWorld>[0]): Promise<HeadWorld> => {
      const made = await headWorld(t, postgres.url(`head${(number += 1)}`), scratch);
      made.server.add({ name: 'gv-lib', bytes: 100_000 }, { name: 'gv-a', depends: 'gv-lib', bytes: 50_000 }, { name: 'gv-b', depends: 'gv-lib', bytes: 50_000 }, { name: 'gv-other', conflicts: 'gv-a', depends: 'gv-lib' });
      await made.catalogue.update('bookworm', 0);
      return made;
    };

    await t.test('choice: from the base, from an image that has a part, from one that has more; each reason is said', async (t) => {
      const { choose, bring, store, repository } = await world(t);
      const first = await bring(['gv-a']);
      t.match(first.chosen.planned.plan.reason, /^base image: .* \+ 2 packages \(0\.\d MB\), installed once on the head as a layer$/);
      t.same(first.made.stages.map(({ stage }) => stage), ['download', 'install', 'pack']);
      const again = await choose(['gv-a']);
      t.match(again.planned.plan.reason, /^cache image d\d+: saves .* of (install|download)/);
      t.match(again.planned.plan.alternatives, [{ name: /^cache image d\d+$/, chosen: true }, { name: 'base image + 2 packages once on the head', chosen: false }]);
      t.ok((again.planned.plan.alternatives[0]?.predicted ?? 99) < (again.planned.plan.alternatives[1]?.predicted ?? 0), 'the least predicted time is taken');

      const both = await bring(['gv-a', 'gv-b']);
      t.match(both.chosen.planned.plan.reason, /^cache image d\d+: saves .* \+ 1 packages/, 'only gv-b is added to the image of gv-a');
      t.equal(both.made.layers.length, 3);
      t.equal(both.made.installed, 2, 'the clock is told what was there before');
      const added = execFileSync('unsquashfs', ['-l', store.path(both.made.layers[2]?.digest ?? '')], { encoding: 'utf8' });
      t.match(added, /usr\/share\/gv-b\/version/);
      t.notMatch(added, /usr\/share\/gv-(a|lib)\//);
      t.match(readFileSync(store.statusPath(both.made.layers[2]?.digest ?? ''), 'utf8'), /Package: gv-a\n[^]*Package: gv-b\n/, 'its dpkg knows all');

      t.equal((await choose(['gv-lib'])).planned.chosen.missing.length, 0, 'an image with more serves');
      t.equal((await choose(['gv-lib'], { exact: true })).planned.chosen.image, undefined, 'unless just that was asked');
      const other = await bring(['gv-other']);
      t.equal(other.chosen.planned.chosen.image, undefined, 'by apt\'s word gv-other does not go onto images with gv-a');
      t.same((await repository.images()).map(({ kind }) => kind).sort(), ['base', 'delta', 'delta', 'delta']);
    });

    await t.test('two requests for the same delta at once: built once, learned once', async (t) => {
      const { bring } = await world(t);
      const [one, two] = await Promise.all([bring(['gv-a']), bring(['gv-a'])]);
      t.same(one.made.layers, two.made.layers);
      t.same([one.made.first, two.made.first].sort(), [false, true]);
    });

    await t.test('a damaged layer is found and not used: a short one at once, a changed byte by its digest', async (t) => {
      const { bring, choose, store, stock, builder } = await world(t);
      const a = await bring(['gv-a']);
      truncateSync(store.path(a.made.layers[1]?.digest ?? ''), 4096);
      t.equal((await choose(['gv-a'])).planned.chosen.image, undefined, 'the base serves');
      const b = await bring(['gv-a']);
      const layer = b.made.layers[1]?.digest ?? '';
      const file = openSync(store.path(layer), 'r+');
      writeSync(file, 'X', statSync(store.path(layer)).size >> 1);
      closeSync(file);
      t.equal(await builder.has(layer), true, 'the cheap look does not see it');
      t.same(await stock.findBroken(b.made.layers, new AbortController().signal), [layer]);
      t.equal(existsSync(store.path(layer)), false);
      t.equal((await choose(['gv-a'])).planned.chosen.image, undefined);
      t.equal((await bring(['gv-a'])).made.layers.length, 2, 'and made again');
    });

    await t.test('making: what was asked together becomes an image in idle time; a request ends that at once', async (t) => {
      const { home, server, catalogue, asked, choose, head, remake, repository } = await world(t);
      server.add({ name: 'gv-slow', postinst: 'sleep 20', depends: 'gv-lib' });
      await catalogue.update('bookworm', 0);
      await asked('casked01', ['gv-a', 'gv-b']);
      await asked('casked02', ['gv-a', 'gv-b']);
      await asked('casked03', ['gv-a']);
      const maker = remake({});
      maker.start();
      t.teardown(() => maker.close());
      const image = await until(async () => (await repository.images()).find(({ kind, inUse }) => kind === 'cache' && !inUse)); // its maker lets go a moment later
      t.match(image, { name: /^c\d+$/, state: 'fresh' });
      await until(async () => (await choose(['gv-a', 'gv-b'])).planned.chosen.missing.length === 0 || undefined);
      await maker.close();

      await asked('casked04', ['gv-slow', 'gv-b']);
      await asked('casked05', ['gv-slow', 'gv-b']);
      const before = await traces(join(home, 'layers'));
      const slow = remake({});
      slow.start();
      t.teardown(() => slow.close());
      await until(async () => (await traces(join(home, 'staging'))).some((line) => /\/plan$/.test(line)) || undefined);
      const begun = performance.now();
      const end = head.activity.begin();
      const chosen = await choose(['gv-a', 'gv-b']);
      const took = (performance.now() - begun) / 1000;
      t.ok(took < 1 && chosen.planned.chosen.missing.length === 0, `a request in the middle was served in ${took.toFixed(2)} s`);
      await slow.close();
      t.same(await traces(join(home, 'staging'), ['nothing']), [], 'nothing of the abandoned build is left');
      t.same(await traces(join(home, 'layers'), before), []);
      end();
    });

    await t.test("making by the paper's rule: packages in at least M % of the last N requests", async (t) => {
      const { asked, remake, repository } = await world(t);
      await asked('casked01', ['gv-a']);
      await asked('casked02', ['gv-b']);
      await asked('casked03', ['gv-a']);
      const maker = remake({ rule: 'popular', percent: 60, requests: 3 });
      maker.start();
      t.teardown(() => maker.close());
      const image = await until(async () => (await repository.images()).find(({ kind }) => kind === 'cache'));
      t.same((await repository.image(image.name)).contents, ['gv-a=1.0', 'gv-lib=1.0']);
    });

    await t.test('a security update: the old image is stale at once, made anew in idle time, and goes when nobody uses it', async (t) => {
      const { server, catalogue, asked, bring, choose, stock, store, remake, repository, db } = await world(t);
      const old = await bring(['gv-a']);
      await asked('cliving1', ['gv-a'], old.made.layers.map(({ digest }) => digest));
      await asked('casked02', ['gv-a']);
      server.add({ name: 'gv-lib', version: '2.0' });
      await catalogue.update('bookworm', 0);
      t.equal((await choose(['gv-a'])).planned.chosen.image, undefined, 'its versions are no longer those of the lists');
      const maker = remake({});
      maker.start();
      t.teardown(() => maker.close());
      const fresh = await until(async () => (await stock.all()).find((image) => image.packages.get('gv-lib') === '2.0'));
      t.equal((await choose(['gv-a'])).planned.chosen.image?.name, fresh.name);
      await until(async () => ((await stock.all()).some(({ key }) => key === old.chosen.resolution.key) ? undefined : true));
      const layer = old.made.layers[1]?.digest ?? '';
      t.equal(existsSync(store.path(layer)), true, 'its layer stays while a node stands on it');
      await db.rows('setState', 'cliving1', 'failed', null);
      t.match((await repository.collect()).removed, [{ what: /^delta layer/, where: 'head' }]);
      t.equal(existsSync(store.path(layer)), false);
    });

    await t.test('the budget: least value goes; what a living part stands on stays, whatever the budget', async (t) => {
      const { bring, asked, remake, stock } = await world(t);
      const a = await bring(['gv-a']);
      const b = await bring(['gv-other']);
      await asked('cliving1', ['gv-a'], a.made.layers.map(({ digest }) => digest));
      const collected = await remake({ megabytes: 0 }).collect(new AbortController().signal);
      t.ok(collected.bytes > 0);
      t.same((await stock.all()).map((image: StockedImage) => image.key), [a.chosen.resolution.key]);
      t.notOk((await stock.all()).some(({ key }) => key === b.chosen.resolution.key));
    });

    await t.test('an administrator makes, lists and shows an image', async (t) => {
      const { repository, head } = await world(t);
      const signal = new AbortController().signal;
      const made = await repository.build({ os: 'bookworm', packages: ['gv-b'], bundles: ['first'] }, signal);
      t.match(made, { kind: 'cache', packages: 3, state: 'fresh', uses: 1 });
      t.same(await repository.build({ os: 'bookworm', packages: ['gv-b'], bundles: [] }, signal), made, 'what is there already is not made again');
      t.match(await repository.image(made.name), { contents: ['gv-b=1.0', 'gv-first=1.0', 'gv-lib=1.0'] });
      await t.rejects(repository.image('c999'), { kind: 'not-found', message: /c999/, hint: /image list/ });
      await t.rejects(repository.build({ os: 'bookworm', packages: ['gv-c'], bundles: [] }, signal), { kind: 'bad-request', message: /gv-c/, hint: /gv-a|gv-b/ });
      const end = head.activity.begin();
      await t.rejects(repository.build({ os: 'bookworm', packages: ['gv-a'], bundles: [] }, signal), { kind: 'wrong-state', message: /at work/, hint: /again/ });
      end();
    });

    await t.test('the package server goes away in the middle: said, with what to do; it comes back and all is well', async (t) => {
      const { home, server, choose, bring, stock } = await world(t);
      await choose(['gv-a']);
      await server.stop();
      const failure = await refusal(bring(['gv-a']));
      t.match(failure, { kind: 'unavailable', message: /packages could not be fetched/, hint: /apt sources/ });
      t.same(await stock.all(), []);
      t.same(await traces(join(home, 'staging'), ['nothing']), []);
      await server.start();
      t.equal((await bring(['gv-a'])).made.layers.length, 2);
      await server.stop();
      t.equal((await choose(['gv-a'])).planned.chosen.missing.length, 0, 'what is cached needs no server');
    });
  });
}

/** Waits until `look` finds something, half a minute at most. */
async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (let left = 150; left > 0; left--) {
    const found = await look();
    if (found !== undefined) return found;
    await pause(200);
  }
  throw new Error('it did not come about within half a minute');
}
