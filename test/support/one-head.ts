/** One head of the embedded grid alone, without a gatekeeper: its own process, database and network; and parts as a gatekeeper would ask for them. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { parse, stringify } from 'yaml';
import { HeadClient } from '../../gatekeeper/head-client.js';
import { makeIdentities } from '../../src/cli/grid/authority.js';
import { writeConfigs } from '../../src/cli/grid/config.js';
import { awaitDaemon, startDaemon, stopProcess } from '../../src/cli/grid/daemons.js';
import { gridDown } from '../../src/cli/grid/down.js';
import { gridLayout, type GridLayout, type SiteLayout } from '../../src/cli/grid/layout.js';
import { dropNetworks, raiseNetworks } from '../../src/cli/grid/network.js';
import { runningPid } from '../../src/cli/grid/state.js';
import { Releases } from '../../src/cli/releases.js';
import type { ClusterState } from '../../src/domain/lifecycle.js';
import { makeLog } from '../../src/log.js';
import type { PartView } from '../../src/ports.js';
import { openDatabase, type Database } from '../../src/store/database.js';
import { startPostgres } from '../../src/store/embedded.js';
import { root, testHome } from './grid.js';

export interface OneHead {
  readonly layout: GridLayout;
  readonly site: SiteLayout;
  readonly head: HeadClient;
  readonly log: () => string;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** kill -9, now. */
  kill(): void;
  /** Changes its configuration file; counts from the next start. */
  configure(change: (config: Record<string, unknown>) => void): void;
  /** Another connection to its database, which is migrated. */
  database(): Promise<Database>;
  /** Asks for a part and waits until it is in one of these states. */
  reach(cluster: string, states: readonly ClusterState[], seconds?: number): Promise<PartView>;
}

export const live: readonly ClusterState[] = ['joining', 'ready', 'failed'];

/** Everything but the process itself, which `start` starts. The state directory is new unless `keep`. */
export async function oneHead(t: Pick<Test, 'teardown'>, name: string, keep = false): Promise<OneHead> {
  const layout = gridLayout(`${testHome}-${name}`, ['alpha']);
  const [site] = layout.sites;
  if (site === undefined) throw new Error('no site');
  const user = '/O=Grid/OU=gridvc/CN=tester';
  await gridDown({ home: `${testHome}-${name}`, purge: false, force: true, say: () => {} }); // what a run that was killed has left
  if (!keep) rmSync(`${testHome}-${name}`, { recursive: true, force: true });
  for (const dir of [layout.dir, join(layout.dir, 'run'), join(layout.dir, 'log'), layout.trust, layout.gatekeeper.home, site.home]) mkdirSync(dir, { recursive: true, mode: 0o711 });
  await makeIdentities(layout, user);
  t.teardown(() => dropNetworks(layout));
  await raiseNetworks(layout, new Releases());
  const postgres = await startPostgres({ home: layout.dir, log: makeLog('test', 'error') });
  t.teardown(() => postgres.stop());
  writeConfigs(layout, { version: 1, user, account: 'tester', sites: ['alpha'] }, { database: (database) => postgres.url(database), memory: 4000 });
  t.teardown(() => stopProcess(site, 10));
  const tls = { ca: [readFileSync(layout.authority.certificate, 'utf8')], cert: readFileSync(layout.gatekeeper.certificate, 'utf8'), key: readFileSync(layout.gatekeeper.key, 'utf8') };
  const head = new HeadClient({ url: site.url, tls });
  t.teardown(() => head.close());
  return {
    layout, site, head,
    log: () => (existsSync(site.log) ? readFileSync(site.log, 'utf8') : ''),
    async start() {
      await startDaemon(site);
      await awaitDaemon(site, new AbortController().signal);
    },
    stop: async () => void (await stopProcess(site, 10)),
    kill: () => void process.kill(runningPid(site) ?? 0, 'SIGKILL'),
    configure(change) {
      const config = parse(readFileSync(site.config, 'utf8')) as Record<string, unknown>;
      change(config);
      writeFileSync(site.config, stringify(config));
    },
    async database() {
      const db = await openDatabase({ url: postgres.url(site.database), schema: 'head', migrations: join(root, 'sql/head'), queries: join(root, 'sql/head/queries.sql'), connections: 2 });
      t.teardown(() => db.close());
      return db;
    },
    async reach(cluster, states, seconds = 240) {
      for (let left = seconds * 10; left > 0; left--) {
        const view = await head.getPart(cluster);
        if (states.includes(view.state)) return view;
        await pause(100);
      }
      throw new Error(`${cluster} is still ${(await head.getPart(cluster)).state}`);
    },
  };
}
