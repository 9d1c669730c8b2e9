/** What a head is made of, without nodes: a real database, real apt and dpkg over a lent base, packages of a test's own server. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { PartSpec } from '../../src/domain/node.js';
import { DirectDistributor } from '../../src/distribute/direct.js';
import { Activity } from '../../src/head/activity.js';
import type { HeadParts } from '../../src/head/bring-up.js';
import { choose, type Asked, type Chosen } from '../../src/head/choice.js';
import { parseHeadConfig, type CacheConfig } from '../../src/head/config.js';
import { Hosts } from '../../src/head/hosts.js';
import { Kernels } from '../../src/head/kernels.js';
import { DebianKernels } from '../../src/image/kernel.js';
import { ImageStock, type MadeImage } from '../../src/head/images.js';
import { Maker } from '../../src/head/making.js';
import { Parts } from '../../src/head/parts.js';
import { CacheRepository } from '../../src/head/repository.js';
import { SiteClock } from '../../src/head/site-clock.js';
import { makeLog } from '../../src/log.js';
import { openDatabase, type Database } from '../../src/store/database.js';
import { openSecrets } from '../../src/store/secrets.js';
import type { BaseImage } from '../../src/ports.js';
import { lendBase, testBase, workshop, type Workshop } from './layers.js';
import { PackageServer } from './package-server.js';
import { root } from './grid.js';

export interface HeadWorld extends Workshop {
  readonly home: string;
  readonly db: Database;
  readonly head: HeadParts;
  readonly stock: ImageStock;
  readonly base: BaseImage;
  readonly server: PackageServer;
  readonly repository: CacheRepository;
  maker: Maker;
  /** Another maker with other settings. */
  remake(cache: Partial<CacheConfig>): Maker;
  choose(packages: readonly string[], more?: Partial<Asked>): Promise<Chosen>;
  /** Chooses and makes, as a bring-up does. */
  bring(packages: readonly string[], more?: Partial<Asked>): Promise<{ chosen: Chosen; made: MadeImage }>;
  /** A row of a request, as the maker's history has it. */
  asked(cluster: string, packages: readonly string[], layers?: readonly string[]): Promise<void>;
}

/** @param url of an empty database */
export async function headWorld(t: Test, url: string, scratch: string): Promise<HeadWorld> {
  const base = await testBase();
  const home = mkdtempSync(join(scratch, 'head-'));
  lendBase(base, home);
  const server = new PackageServer(join(home, 'packages'));
  server.add({ name: 'gv-first' });
  await server.start();
  t.teardown(() => server.stop());
  const sources = join(home, 'test.list');
  writeFileSync(sources, server.source);
  const place = workshop(home, { sources, archives: join(home, 'archives') });
  mkdirSync(place.store.staging, { recursive: true });
  const db = await openDatabase({ url, schema: 'head', migrations: join(root, 'sql/head'), queries: join(root, 'sql/head/queries.sql') });
  t.teardown(() => db.close());
  await db.rows('putLayer', base.digest, 'base', base.os, base.bytes, place.builder.recipe);
  const log = makeLog('test', 'error');
  const stock = new ImageStock(db, place.catalogue, place.builder, 3600);
  const hosts = await Hosts.open({ fixed: [], make: () => { throw new Error('no hosts here'); }, db, log });
  const distributor = new DirectDistributor({ source: (digest) => place.store.path(digest), home: () => home });
  const parts = new Parts('alpha', db, await openSecrets<PartSpec>(join(home, 'parts')));
  const head: HeadParts = { site: 'alpha', db, parts, hosts, stock, kernels: new Kernels(db, new DebianKernels(place.store, place.catalogue)), distributor, clock: new SiteClock(db), activity: new Activity(), log, bundles: { first: ['gv-first'] }, contextOf: () => [], makeRoom: async () => (await world.maker.collect(never, 0, 0)).bytes };
  const remake = (cache: Partial<CacheConfig>): Maker => {
    const defaults = parseHeadConfig(minimal, 'test').cache;
    return new Maker({ head, collecting: { db, stock, builder: place.builder, hosts, distributor, log }, catalogue: place.catalogue, cache: { ...defaults, idleSeconds: 0, leastSeconds: 0, ...cache }, releases: [base.os], listsMaxAge: 3600 });
  };
  const maker = remake({});
  const never = new AbortController().signal;
  const world: HeadWorld = {
    ...place, home, db, head, stock, base, server, maker, remake,
    repository: new CacheRepository(head, maker, (digest) => place.builder.contents(digest)),
    async choose(packages, more = {}) {
      const hold = stock.hold();
      try {
        return await choose(head, { os: base.os, packages, exact: false, nodes: 1, memory: 320, disk: 1600, ...more }, [], { signal: never, hold });
      } finally {
        hold.release();
      }
    },
    async bring(packages, more = {}) {
      const chosen = await world.choose(packages, more);
      const hold = stock.hold();
      try {
        return { chosen, made: await stock.make(chosen.planned.chosen, chosen.resolution, chosen.base, { signal: never, progress: () => {}, hold }) };
      } finally {
        hold.release();
      }
    },
    async asked(cluster, packages, layers = []) {
      await db.rows('insertRequest', cluster, '/O=Grid/CN=Alice', JSON.stringify({ os: base.os, packages, bundles: [] }), new Date(Date.now() + 3_600_000));
      await db.rows('addRequestLayers', cluster, layers);
    },
  };
  t.teardown(() => rmSync(home, { recursive: true, force: true }));
  return world;
}

const minimal = `
site: alpha
listen: { port: 0 }
home: /tmp
certificate: /c
key: /k
trust: /t
gatekeeper: /O=Grid/CN=host
hosts: [{ name: h1, kind: container, transport: { kind: local }, home: /h, network: { bridge: b0, subnet: 10.0.0.0/24, gateway: 10.0.0.1, first: 10.0.0.2, last: 10.0.0.9 } }]
`;
