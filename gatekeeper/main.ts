/**
 * The gatekeeper's composition root: configuration, database, trust, services, server. First TERM or INT: graceful
 * (clusters run on, their hubs are adopted at the next start); the second one: at once.
 */
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { GridError } from '../src/domain/error.js';
import { makeLog, type Log } from '../src/log.js';
import { nodeRoom, parsePool } from '../src/overlay/addresses.js';
import { validateChain } from '../src/pki/chain.js';
import type { Issuer } from '../src/pki/issue.js';
import { certificatesOf, writePem } from '../src/pki/pem.js';
import { peerChain, tlsServerOptions } from '../src/pki/tls.js';
import { TrustDirectory } from '../src/pki/trust-directory.js';
import type { UploadStore } from '../src/ports.js';
import { openDatabase, type Database } from '../src/store/database.js';
import { startPostgres } from '../src/store/embedded.js';
import { openSecrets } from '../src/store/secrets.js';
import { Authorizer } from './authorization/authorizer.js';
import type { Tools } from './cluster/job.js';
import type { Material } from './cluster/material.js';
import { ClusterRecords } from './cluster/records.js';
import { ClusterTasks } from './cluster/tasks.js';
import { Clusters } from './clusters.js';
import { parseGatekeeperConfig, type GatekeeperConfig } from './config.js';
import { Delegations, type ReadChain } from './delegations.js';
import { HeadClient } from './head-client.js';
import { Authenticator } from './identity/authenticator.js';
import { Jobs } from './gram/jobs.js';
import { openGram } from './gram/open.js';
import { fromElements } from './request/from-elements.js';
import { fromRsl } from './request/from-rsl.js';
import { serveGatekeeper } from './server.js';
import { Sites, type HeadConnection } from './sites.js';
import { diskUploads } from './uploads.js';

const usage = `usage: gridvc-gatekeeper --config FILE

Runs the gatekeeper of a grid: the front door for users and site administrators.
  --config FILE   configuration (YAML), see docs/operations.md
  --help          this text
`;
const sql = join(import.meta.dirname, '../../sql/gatekeeper');
const sweepMilliseconds = 3600_000;
const delegationMilliseconds = 10_000;

/** Releases, run last in first out; all run. */
type Releases = (() => Promise<void> | void)[];

async function run(config: GatekeeperConfig, log: Log, releases: Releases): Promise<void> {
  await mkdir(config.home, { recursive: true });
  await chmod(config.home, 0o711); // openvpn's own account must get to its client files; all secrets below are 0700 or 0600
  const db = await openStore(config, log);
  releases.push(() => db.close());
  const trust = TrustDirectory.open(config.trust, log, { vomsdir: config.vomsdir, crl: config.crl });
  const authenticator = new Authenticator(trust, { gridmap: config.gridmap, bans: config.bans, roles: config.roles }, log);
  const authorizer = new Authorizer({ rules: config.rules, quotas: config.quotas }, log);
  const [certificate, key] = await Promise.all([readPem(config.certificate), readPem(config.key)]);
  const sites = new Sites(db, (site) => connectHead(site, { trust, certificate, key }), log, authorizer);
  releases.push(() => sites.close());
  const uploads = diskUploads(config.home, { fileBytes: config.limits.uploadBytes, ownerBytes: config.limits.ownerUploadBytes });
  const sweep = setInterval(() => void uploads.sweep().catch((error: unknown) => log.warn({ err: error }, 'sweeping uploads failed')), sweepMilliseconds);
  releases.push(() => clearInterval(sweep));
  const tools: Tools = {
    db,
    records: new ClusterRecords(db),
    secrets: await openSecrets<Material>(join(config.home, 'clusters')),
    sites,
    uploads,
    overlay: await overlayOf(config),
    home: config.home,
    longestLease: config.limits.lifetime,
    log,
  };
  const tasks = new ClusterTasks(tools);
  const readChain = async (chain: string): ReturnType<ReadChain> => {
    const { subject, notAfter, limited, chain: [proxy] } = authenticator.identify(certificatesOf(chain), new Date());
    if (proxy === undefined) throw new GridError('bad-request', 'the delegated chain is empty');
    return { subject, notAfter, limited, publicKey: proxy.publicKey };
  };
  const delegation = await Delegations.open(db, config.home, readChain, { authorizer, leastSeconds: config.limits.credentialMargin, renewed: () => clusters.followDelegations() });
  const count = Math.min(config.limits.count, nodeRoom(config.overlay.prefix));
  const clusters = new Clusters(tools, tasks, delegation, { ...config.limits, count }, authorizer);
  const follow = setInterval(() => void followDelegations(clusters, delegation).catch((error: unknown) => log.warn({ err: error }, 'following delegations failed')), delegationMilliseconds);
  releases.push(() => clearInterval(follow));
  await uploads.sweep();
  await tasks.start();
  releases.push(() => tasks.close());
  const server = await serveGatekeeper({
    ...config.listen,
    tls: { ...tlsServerOptions, cert: certificate, key },
    authenticate: (socket) => authenticator.authenticate(peerChain(socket), new Date()),
    services: { clusters, delegation, sites, fromRsl, fromElements },
    uploads: guarded(uploads, authorizer),
    dialer: clusters,
    limits: { bodyBytes: config.limits.bodyBytes, connections: config.limits.connections },
    log,
  });
  releases.push(() => server.close(2));
  if (config.gram !== undefined) await openDoorForGram(config.gram, { tools, tasks, clusters, authenticator, authorizer, certificate, key, lifetime: config.limits.lifetime }, releases);
  log.info({ host: config.listen.host, port: server.port }, 'ready');
}

interface GramRoom {
  readonly tools: Tools;
  readonly tasks: ClusterTasks;
  readonly clusters: Clusters;
  readonly authenticator: Authenticator;
  readonly authorizer: Authorizer;
  readonly certificate: string;
  readonly key: string;
  readonly lifetime: number;
}

/** Port 2119, for the Globus clients: the same clusters, rules and people. */
async function openDoorForGram(settings: NonNullable<GatekeeperConfig['gram']>, room: GramRoom, releases: Releases): Promise<void> {
  const { tools, tasks, clusters, authenticator, authorizer, certificate, key, lifetime } = room;
  const { db, home, secrets, log } = tools;
  const gram = await openGram({
    settings,
    certificate,
    key,
    authenticate: (chain, now) => authenticator.authenticate(chain, now),
    identify: (chain, now) => authenticator.identify(chain, now),
    jobs: async (couriers, contacts, traffic) => {
      const jobs = await Jobs.open({ db, home, clusters, clusterRecords: tools.records, tasks, secrets, authorizer, couriers, contacts, lifetime, limits: settings.jobs, traffic, log });
      releases.push(() => jobs.close());
      return jobs;
    },
    log,
  });
  releases.push(() => gram.close());
  log.info({ host: settings.host, port: gram.port }, 'GRAM ready');
}

async function followDelegations(clusters: Clusters, delegation: Delegations): Promise<void> {
  await clusters.followDelegations();
  await delegation.sweep();
}

function guarded(uploads: UploadStore, authorizer: Authorizer): UploadStore {
  return {
    put: async (caller, body) => {
      authorizer.check(caller, 'putFile');
      return uploads.put(caller, body);
    },
    size: (owner, id) => uploads.size(owner, id),
    read: (owner, id) => uploads.read(owner, id),
  };
}

async function openStore(config: GatekeeperConfig, log: Log): Promise<Database> {
  const url = config.database ?? (await startPostgres({ home: config.home, log })).url('gridvc'); // it outlives us, and is adopted
  return openDatabase({ url, schema: 'gatekeeper', migrations: sql, queries: join(sql, 'queries.sql') });
}

async function overlayOf(config: GatekeeperConfig): Promise<Tools['overlay']> {
  const { address, ports, pool, prefix, ca, caKey } = config.overlay;
  const issuer: Issuer = { certificate: await readPem(ca), key: await readPem(caKey) };
  return { address, ports, pool: parsePool(pool, prefix), issuer };
}

/** A connection to a head whose certificate must be valid under the trust directory and have the registered subject. */
function connectHead(site: { url: string; subject: string }, own: { trust: TrustDirectory; certificate: string; key: string }): HeadConnection {
  const ca = [...own.trust.current().authorities.values()].flat().map((authority) => writePem('CERTIFICATE', authority.certificate.raw));
  const checkServer = (certificate: Uint8Array): Error | undefined => {
    const verdict = validateChain([certificate], own.trust.current(), new Date(), { usage: 'server' });
    if (!verdict.ok) return new Error(verdict.refusal.message);
    if (verdict.identity.subject !== site.subject) return new Error(`it is ${verdict.identity.subject}, the site was registered as ${site.subject}`);
    return undefined;
  };
  return new HeadClient({ url: site.url, tls: { ca, cert: own.certificate, key: own.key, checkServer } });
}

async function readPem(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new GridError('bad-request', `cannot read ${file}: ${(error as Error).message}`, { hint: 'the configuration names this file' });
  }
}

async function release(releases: Releases, log: Log): Promise<void> {
  for (let next = releases.pop(); next !== undefined; next = releases.pop()) {
    try {
      await next();
    } catch (error) {
      log.error({ err: error }, 'shutting down');
    }
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { config: { type: 'string' }, help: { type: 'boolean' } } });
  if (values.help || values.config === undefined) {
    (values.help ? process.stdout : process.stderr).write(usage);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const config = parseGatekeeperConfig(await readPem(values.config), values.config);
  const log = makeLog('gatekeeper', config.log);
  const releases: Releases = [];
  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(130);
    stopping = true;
    log.info({ signal }, 'stopping; clusters run on');
    void release(releases, log).then(() => process.exit(0));
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
  try {
    await run(config, log, releases);
  } catch (error) {
    await release(releases, log);
    throw error;
  }
}

main().catch((error: unknown) => {
  const text = error instanceof GridError ? `${error.message}${error.hint === undefined ? '' : `\nhint: ${error.hint}`}` : String(error instanceof Error ? error.stack : error);
  process.stderr.write(`gridvc-gatekeeper: ${text}\n`);
  process.exit(1);
});
