/** The store on a real PostgreSQL: migrations, queries, transactions, and what a head remembers of a part. */
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { coldSite, predictAll } from '../src/domain/estimate/site.js';
import type { PartSpec } from '../src/domain/node.js';
import { SiteClock } from '../src/head/site-clock.js';
import { Parts } from '../src/head/parts.js';
import { makeLog } from '../src/log.js';
import { openDatabase, type Database } from '../src/store/database.js';
import { startPostgres } from '../src/store/embedded.js';
import { openSecrets } from '../src/store/secrets.js';
import { testPostgres } from './support/postgres.js';

const root = join(import.meta.dirname, '..', '..');
const head = (url: string): Promise<Database> => openDatabase({ url, schema: 'head', migrations: join(root, 'sql/head'), queries: join(root, 'sql/head/queries.sql') });

if (!existsSync('/usr/lib/postgresql')) t.plan(0, 'PostgreSQL is not installed');
else
  t.test('with a private PostgreSQL', async (t) => {
    const server = await testPostgres(t);

    t.test('opening creates the database, migrates once, and may be done by two at a time', async (t) => {
      const [one, two] = await Promise.all([head(server.url('twice')), head(server.url('twice'))]);
      t.same(await one.rows('unfinishedRequests'), []);
      t.same(await two.rows('unfinishedRequests'), []);
      await Promise.all([one.close(), two.close()]);
    });

    t.test('a running server is adopted, not started again', async (t) => {
      const again = await startPostgres({ home: server.home, log: makeLog('test', 'error') });
      t.equal(again.url('x'), server.url('x'));
    });

    t.test('a server that does not answer is `unavailable`, without its password', async (t) => {
      await t.rejects(head('postgresql://a:secret@127.0.0.1:1/x'), { kind: 'unavailable', message: /^(?!.*secret).*does not answer/ });
    });

    t.test('a transaction that fails leaves nothing', async (t) => {
      const db = await head(server.url('rollback'));
      t.teardown(() => db.close());
      await t.rejects(db.transaction(async (tx) => {
        await tx.rows('putHost', 'h1', 'container', 1, 1, 1, [], '');
        throw new Error('no, undone');
      }), /no, undone/);
      t.same(await db.rows('hostCapacities', ['h1']), []);
    });

    t.test('a part: placed once, its nodes take capacity, its events wake those who wait', async (t) => {
      const db = await head(server.url('parts'));
      t.teardown(() => db.close());
      const secrets = await openSecrets<PartSpec>(join(server.home, 'secrets'));
      const parts = new Parts('alpha', db, secrets);
      await db.rows('putHost', 'h1', 'container', 1000, 9000, 4, [], '');
      const place = async (): Promise<{ name: string; host: string; address: string }[]> => [{ name: 'n1', host: 'h1', address: '10.0.0.5' }];
      t.equal(await parts.insert(spec, place), true);
      t.equal(await parts.insert(spec, place), false, 'the second time changes nothing');
      t.equal((await stat(join(server.home, 'secrets', `${spec.cluster}.json`))).mode & 0o777, 0o600);
      t.match(await db.row('hostCapacities', ['h1']), { freeMemory: 680, freeDisk: 7400 });

      const waiting = parts.events(spec.cluster, 0, 5);
      await parts.become(spec.cluster, 'building');
      t.match(await waiting, [{ sequence: 1, kind: 'state', text: 'building', site: 'alpha' }]);
      t.same(await parts.events(spec.cluster, 1, 0.05), [], 'nothing new within the time');
      await t.rejects(parts.become(spec.cluster, 'ready'), { message: /is building and cannot become ready/ });
      await Promise.all([1, 2, 3, 4].map((n) => parts.event(spec.cluster, 'node', `event ${n}`, 'n1')));
      t.same((await parts.events(spec.cluster, 1, 0)).map((event) => event.sequence), [2, 3, 4, 5], 'numbered without holes');

      await parts.setPlan(spec.cluster, { site: 'alpha', nodes: 1, stages: [{ stage: 'install', predicted: 2, bytes: 5, items: 1 }], predicted: 2, reason: 'r', alternatives: [] }, 'key');
      await parts.measured(spec.cluster, { stage: 'install', seconds: 2.5, bytes: 5, items: 1 }, new Date());
      t.match(await parts.view(spec.cluster), { plan: { predicted: 2 }, measured: [{ stage: 'install', seconds: 2.5 }], nodes: [{ name: 'n1', state: 'planned' }] });

      const clock = new SiteClock(db);
      const work = { stage: 'install', bytes: 5e6, items: 1, install: { packages: [{ name: 'gcc', debBytes: 5e6 }], installed: 0 } } as const;
      const before = predictAll(await clock.models(), work);
      await clock.keep(spec.cluster, before);
      await clock.keep(spec.cluster, predictAll(coldSite, work));
      t.match(await db.rows('predictionsOf', spec.cluster), ['M0', 'M1', 'M2', 'M3'].map((model) => ({ model, chosen: model === 'M1', seconds: before.find((one) => one.model === model)?.seconds })), 'the first word of every model is kept');
      await parts.packageTimings('cother001', [{ package: 'gcc', version: '12', phase: 'unpack', seconds: 20, bytes: 5e6, files: 30 }]);
      await db.rows('insertTiming', 'cother001', '', 'install', 5e6, 1, new Date(), 22, null, 0, 1, 1, false, 'head', null);
      const [learned] = predictAll(await clock.models(), work);
      t.equal(learned.model, 'M3', 'rows of packages make M3 the model to go by');
      const same = before.find(({ model }) => model === 'M3');
      t.ok(same !== undefined && learned.seconds > same.seconds, `it learned: ${same?.seconds.toFixed(1)} s, then ${learned.seconds.toFixed(1)} s`);
      t.same(await new SiteClock(db).models(), await clock.models(), 'a restarted head knows the same');

      await t.test('poisoned rows: a stall of minutes, a clock that jumped, a build that was shared', async (t) => {
        const install = (cluster: string, seconds: number, more: { shared?: boolean } = {}) => parts.measured(cluster, { stage: 'install', seconds, bytes: 5e6, items: 1 }, new Date(), { installed: 0, speed: 1, ...more });
        for (let n = 0; n < 8; n++) {
          await parts.packageTimings(`cgood00${n}`, [{ package: 'gcc', version: '12', phase: 'unpack', seconds: 20, bytes: 5e6, files: 30 }]);
          await db.rows('insertTiming', `cgood00${n}`, '', 'install', 5e6, 1, new Date(), 22, null, 0, 1, 1, false, 'head', null);
        }
        const [sane] = predictAll(await clock.models(), work);
        await install(spec.cluster, 22, { shared: true });
        t.equal(predictAll(await clock.models(), work)[0].seconds, sane.seconds, 'what was built for another request is learned once');
        await parts.packageTimings('cstall01', [{ package: 'gcc', version: '12', phase: 'unpack', seconds: 600, bytes: 5e6, files: 30 }]);
        await db.rows('insertTiming', 'cstall01', '', 'install', 5e6, 1, new Date(), 620, null, 0, 1, 1, false, 'head', null);
        const [stalled] = predictAll(await clock.models(), work);
        t.ok(Math.abs(stalled.seconds - sane.seconds) < 0.25 * sane.seconds, `${sane.seconds.toFixed(1)} s, after a stall of ten minutes ${stalled.seconds.toFixed(1)} s`);
        for (const [n, seconds] of [-4000, 90_000, NaN, Infinity].entries()) {
          await parts.packageTimings(`cjump00${n}`, [{ package: 'gcc', version: '12', phase: 'unpack', seconds, bytes: 5e6, files: 30 }]);
          await db.rows('insertTiming', `cjump00${n}`, '', 'install', 5e6, 1, new Date(), seconds, null, 0, 1, 1, false, 'head', null);
          await db.rows('insertTiming', `cjump00${n}`, '', 'launch', 0, 4, new Date(), seconds, null, 0, 1, 1, false, 'head', null);
        }
        t.same(predictAll(await new SiteClock(db).models(), work)[0].seconds, stalled.seconds, 'absurd seconds change nothing');
      });

      await parts.become(spec.cluster, 'destroying');
      await parts.gone(spec.cluster);
      await parts.become(spec.cluster, 'destroyed');
      t.match(await db.row('hostCapacities', ['h1']), { freeMemory: 1000 });
      t.equal(await parts.spec(spec.cluster), undefined, 'its keys are gone');
    });
  });

const spec: PartSpec = {
  cluster: 'ctest001', owner: '/O=Grid/CN=Alice', memory: 320, disk: 1600, vcpus: 1, os: 'bookworm', packages: [], bundles: [], expires: Date.now() + 60_000, minCount: 1,
  nodes: [{ name: 'n1', overlayAddress: '10.128.0.10', certificate: '', key: '', hostKey: '', hostKeyPublic: '' }],
  overlay: { hubHost: 'h', hubPort: 1, ca: '', hubName: 'hub', netmask: '255.255.240.0' },
  hosts: '', hostfile: '', knownHosts: '', authorizedKeys: [], clusterKey: '', clusterKeyPublic: '', files: [],
};
