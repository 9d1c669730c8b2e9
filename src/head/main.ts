/**
 * The head process: reads its configuration, wires the parts, serves until a signal. Nodes keep
 * running when it stops; the next start resumes what was under way.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { GridError, isGridError } from '../domain/error.js';
import { DirectDistributor } from '../distribute/direct.js';
import { ContainerDriver } from '../hypervisor/container.js';
import { XenDriver } from '../hypervisor/xen.js';
import { AptCatalogue } from '../image/apt.js';
import { DebianBuilder } from '../image/builder.js';
import { DebianKernels } from '../image/kernel.js';
import { LayerStore } from '../image/layer-store.js';
import { makeLog, type Log } from '../log.js';
import { nodeContext } from '../node/context.js';
import { LocalTransport } from '../node/local.js';
import { SshTransport, type SshOptions } from '../node/ssh.js';
import { nodeFiles } from '../overlay/client-config.js';
import { readCertificate } from '../pki/certificate.js';
import { validateChain } from '../pki/chain.js';
import { certificatesOf } from '../pki/pem.js';
import { peerChain, tlsServerOptions } from '../pki/tls.js';
import { TrustDirectory } from '../pki/trust-directory.js';
import type { PartSpec } from '../domain/node.js';
import { openDatabase } from '../store/database.js';
import { startPostgres } from '../store/embedded.js';
import { openSecrets } from '../store/secrets.js';
import { Activity } from './activity.js';
import type { HeadParts } from './bring-up.js';
import { ClockAdmin } from './estimate-admin.js';
import { parseHeadConfig, type HeadConfig, type HostConfig } from './config.js';
import { Head } from './head.js';
import { HostRegister } from './host-admin.js';
import { Hosts, type ComputeHost } from './hosts.js';
import { ImageStock } from './images.js';
import { Kernels } from './kernels.js';
import { Maker } from './making.js';
import { Parts } from './parts.js';
import { CacheRepository } from './repository.js';
import { SiteClock } from './site-clock.js';
import { serveHead } from './soap.js';
import { Tasks } from './tasks.js';

const usage = `usage: node dist/src/head/main.js --config FILE

The head service of one site. FILE is YAML; docs/operations.md describes every setting.
SIGTERM or SIGINT stops it (nodes keep running); a second signal stops it at once.`;

const root = join(import.meta.dirname, '..', '..', '..');

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { config: { type: 'string' }, help: { type: 'boolean', short: 'h' } } });
  if (values.help === true) return void console.log(usage);
  if (values.config === undefined) throw new GridError('bad-request', '--config is missing', { hint: usage });
  const config = parseHeadConfig(readFileSync(values.config, 'utf8'), values.config);
  const log = makeLog(`head/${config.site}`, config.log);
  const stop = signalled();
  const close = await start(config, log);
  log.info({ port: config.listen.port }, 'ready');
  await stop;
  log.info('stopping; nodes keep running');
  process.once('SIGTERM', () => process.exit(1)).once('SIGINT', () => process.exit(1));
  await close();
}

/** Starts everything; returns what stops it again, in reverse order. */
async function start(config: HeadConfig, log: Log): Promise<() => Promise<void>> {
  const releases: (() => Promise<void>)[] = [];
  const stopping = new AbortController();
  const closeAll = async (): Promise<void> => {
    stopping.abort();
    for (const release of releases.reverse()) await release().catch((error: unknown) => log.warn({ err: error }, 'while stopping'));
  };
  try {
    await mkdir(config.home, { recursive: true, mode: 0o711 });
    const url = config.database ?? (await privateDatabase(config, log, releases));
    const db = await openDatabase({ url, schema: 'head', migrations: join(root, 'sql/head'), queries: join(root, 'sql/head/queries.sql') });
    releases.push(() => db.close());

    const layers = new LayerStore(config.home);
    const catalogue = new AptCatalogue({ home: config.home, releases: config.releases, statusOf: (digest) => layers.statusPath(digest), log, ...(config.apt.sources === undefined ? {} : { sources: config.apt.sources }) });
    const builder = new DebianBuilder(layers, catalogue, { log, ...(config.build.memory === undefined ? {} : { memory: config.build.memory * 2 ** 20 }) });
    await builder.recover();
    const stock = new ImageStock(db, catalogue, builder, config.apt.maxAgeSeconds);
    const orphans = await stock.recover();
    if (orphans > 0) log.warn({ orphans }, 'removed layer files of a build that a crash had cut off');

    const owner = ownerName(config);
    const hosts = await Hosts.open({ fixed: config.hosts, make: (settings) => computeHost(settings, owner), db, log });
    releases.push(() => hosts.close());
    await hosts.check();
    const distributor = new DirectDistributor({ source: (digest) => layers.path(digest), home: (host) => hosts.get(host).home });
    const kernels = new Kernels(db, new DebianKernels(layers, catalogue));

    const parts = new Parts(config.site, db, await openSecrets<PartSpec>(join(config.home, 'parts')));
    const clock = new SiteClock(db);
    await clock.models(); // what was learned before is read now, not when the first request waits
    const made: HeadParts = {
      site: config.site, db, parts, hosts, stock, kernels, distributor, clock, activity: new Activity(), log, bundles: config.bundles,
      contextOf: (spec, node) => nodeContext(spec, node, nodeFiles(node, spec.overlay)),
      makeRoom: async () => (await maker.collect(stopping.signal, 0, 0)).bytes,
    };
    const maker = new Maker({ head: made, collecting: { db, stock, builder, hosts, distributor, log }, catalogue, cache: config.cache, releases: config.releases, listsMaxAge: config.apt.maxAgeSeconds });
    releases.push(() => maker.close());
    const tasks = new Tasks(made, log);
    releases.push(() => tasks.close());
    await tasks.start();

    const trust = TrustDirectory.open(config.trust, log);
    const certificate = readFileSync(config.certificate, 'utf8');
    const server = await serveHead({
      ...config.listen,
      tls: { ...tlsServerOptions, cert: certificate, key: readFileSync(config.key) },
      subjectOf: (socket) => {
        const verdict = validateChain(peerChain(socket), trust.current(), new Date());
        if (!verdict.ok) throw new GridError('not-authenticated', verdict.refusal.message);
        if (verdict.identity.limited) throw new GridError('not-authorized', `a limited proxy of ${verdict.identity.subject} may not command a head`, { hint: 'make an ordinary one: gridvc proxy init' });
        return verdict.identity.subject;
      },
      gatekeeper: config.gatekeeper,
      service: new Head(made, tasks, config.releases, stopping.signal),
      admin: { site: config.site, images: new CacheRepository(made, maker, (digest) => builder.contents(digest)), estimates: new ClockAdmin(config.site, db, clock), hosts: new HostRegister(hosts, db) },
      stopping: stopping.signal,
      administrators: [ownSubject(certificate, config.certificate), ...config.administrators],
      log,
    });
    releases.push(() => server.close());
    releases.push(makeBases(config, made, stopping.signal));
    maker.start();
    return closeAll;
  } catch (error) {
    await closeAll();
    throw error;
  }
}

function ownSubject(pem: string, file: string): string {
  const [der] = certificatesOf(pem);
  if (der === undefined) throw new GridError('bad-request', `${file} has no certificate`, { hint: 'the setting "certificate" names it' });
  return readCertificate(der).subject;
}

async function privateDatabase(config: HeadConfig, log: Log, releases: (() => Promise<void>)[]): Promise<string> {
  const server = await startPostgres({ home: config.home, log });
  releases.push(() => server.stop());
  return server.url(`head_${config.site.replaceAll('-', '_')}`);
}

/** A site that was just installed makes its base images now, not when the first user waits. @returns what waits for the end of that */
function makeBases(config: HeadConfig, { stock, log, activity }: HeadParts, signal: AbortSignal): () => Promise<void> {
  const made = config.releases.map(async (os) => {
    try {
      const { stages } = await activity.during(() => stock.base(os, signal));
      if (stages.length > 0) log.info({ os, seconds: stages[0]?.seconds }, 'base image made');
      await stock.checkNames(os, ['base-files']); // reads the package names
      const base = await stock.readyBase(os);
      if (base !== undefined) await stock.judge(base, signal); // so that the first request need not
    } catch (error) {
      if (!signal.aborted) log.error({ os, err: error }, 'the base image could not be made; the first request tries again');
    }
  });
  return () => Promise.all(made).then(() => {});
}

/** The closed map from configuration to implementations. */
function computeHost(host: HostConfig, owner: string): ComputeHost {
  const { transport: to, name, home, network, type, memory, disk } = host;
  const transport = to.kind === 'local' ? new LocalTransport({ host: name, ...(to.netns === undefined ? {} : { netns: to.netns }) }) : new SshTransport({ host: name, ...sshOptions(to) });
  const drivers = {
    container: () => new ContainerDriver({ transport, home, network }),
    xen: () => new XenDriver({ transport, home, network, owner, ...(type === undefined ? {} : { type }) }),
  } as const;
  return { name, home, transport, driver: drivers[host.kind](), network, ...(memory === undefined ? {} : { memory }), ...(disk === undefined ? {} : { disk }) };
}

function sshOptions({ address, port, user, key, knownHosts, hostKey }: Extract<HostConfig['transport'], { kind: 'ssh' }>): Omit<SshOptions, 'host'> {
  return { address, port, user, key, ...(knownHosts === undefined ? {} : { knownHosts }), ...(hostKey === undefined ? {} : { hostKey }) };
}

/** In the names of this head's domains: the site, and a mark that another grid's site of the same name does not have. */
function ownerName(config: HeadConfig): string {
  return `${config.site}-${createHash('sha256').update(`${config.gatekeeper}\n${config.site}`).digest('hex').slice(0, 6)}`;
}

function signalled(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGTERM', () => resolve()).once('SIGINT', () => resolve());
  });
}

main().catch((error: unknown) => {
  if (isGridError(error)) console.error(`head: ${error.message}${error.hint === undefined ? '' : `\nhint: ${error.hint}`}`);
  else console.error(error);
  process.exitCode = 1;
});
