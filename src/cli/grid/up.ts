/**
 * `gridvc grid up`: a whole grid on this machine, with nothing faked but the distance. Every step may be repeated:
 * after a crash or a reboot the same command brings back what is missing and leaves the rest alone. What this run
 * started is stopped again if it fails or is interrupted; what is on disk stays for the next try.
 */
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { userInfo } from 'node:os';
import { GridError } from '../../domain/error.js';
import { makeLog } from '../../log.js';
import { startPostgres } from '../../store/embedded.js';
import { needed, type Finding } from '../doctor.js';
import { writeWhole } from '../files.js';
import { Releases } from '../releases.js';
import { thisEnvironment } from '../settings.js';
import { makeIdentities } from './authority.js';
import { writeConfigs } from './config.js';
import { awaitDaemon, startDaemon, stopProcess } from './daemons.js';
import { gridLayout, type GridLayout } from './layout.js';
import { takeLock } from './lock.js';
import { availableMemory } from './memory.js';
import { raiseNetworks } from './network.js';
import { gridClient } from './client.js';
import { findGrid, runningPid, type EmbeddedGrid, type GridState } from './state.js';

export interface UpOptions {
  readonly home: string;
  readonly sites: readonly string[];
  readonly signal: AbortSignal;
  /** One line for each thing done. */
  readonly say: (line: string) => void;
}

/** Brings the grid up, or what is missing of it. @throws wrong-state if a grid with other sites is there */
export async function gridUp(options: UpOptions): Promise<EmbeddedGrid> {
  await checkMachine();
  const layout = gridLayout(options.home, options.sites);
  const state = chooseState(options);
  const unlock = takeLock(layout.lock);
  const undo = new Releases();
  try {
    prepareDirectories(layout);
    for (const made of await makeIdentities(layout, state.user)) options.say(`made ${made}`);
    writeWhole(layout.state, `${JSON.stringify(state, null, 2)}\n`, 0o644);
    await raiseNetworks(layout, undo);
    options.say(`networks are up: ${layout.sites.map((site) => `${site.site} behind ${site.address}`).join(', ')}`);
    await startProcesses(layout, state, options, undo);
    await registerSites(layout, options);
    undo.keep();
    return { state, layout };
  } catch (error) {
    await undo.run().catch((second: unknown) => options.say(`while undoing: ${(second as Error).message}`));
    throw error;
  } finally {
    unlock();
  }
}

/** Stops with everything that this machine lacks, not only with the first thing. */
async function checkMachine(): Promise<void> {
  const lacking = (await needed()).filter((finding) => finding.state === 'missing');
  if (lacking.length === 0) return;
  const lines = lacking.map(({ what, detail, mend }: Finding) => `  ${what}: ${detail}; ${mend}`);
  throw new GridError('unavailable', `this machine lacks what a grid needs:\n${lines.join('\n')}`, { hint: 'gridvc doctor shows everything, sudo gridvc setup installs packages' });
}

function chooseState(options: UpOptions): GridState {
  const present = findGrid(options.home);
  if (present !== undefined) {
    if (present.state.sites.join() === options.sites.join()) return present.state;
    throw new GridError('wrong-state', `${present.layout.dir} holds a grid with the sites ${present.state.sites.join(', ')}, not ${options.sites.join(', ')}`, {
      hint: `gridvc grid up --sites ${present.state.sites.join(',')}, or remove it first: gridvc grid down --purge`,
    });
  }
  const account = thisEnvironment().variables['SUDO_USER'] ?? userInfo().username;
  const common = account.replaceAll(/[^A-Za-z0-9 ._-]/g, '-');
  return { version: 1, user: `/O=Grid/OU=gridvc/CN=${common}`, account: common, sites: [...options.sites] };
}

/** The database server and the package downloader drop root and must be able to walk through; secrets are in 0700. */
function prepareDirectories(layout: GridLayout): void {
  const processes = [layout.gatekeeper, ...layout.sites];
  const open = [layout.dir, ...processes.flatMap((each) => [each.home, join(each.home, 'state')]), ...layout.sites.map((site) => site.host)];
  for (const dir of open) mkdirSync(dir, { recursive: true, mode: 0o711 });
  mkdirSync(layout.trust, { recursive: true, mode: 0o755 });
  for (const file of [layout.authority.key, layout.user.key, layout.gatekeeper.pid, layout.gatekeeper.log]) mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
}

async function startProcesses(layout: GridLayout, state: GridState, options: UpOptions, undo: Releases): Promise<void> {
  const postgres = await startPostgres({ home: layout.dir, log: makeLog('cli', 'warn') });
  const all = [...layout.sites, layout.gatekeeper];
  const idle = all.filter((daemon) => runningPid(daemon) === undefined);
  if (idle.length === all.length) undo.add(() => postgres.stop());
  if (idle.length > 0) {
    writeConfigs(layout, state, { database: (name) => postgres.url(name), memory: Math.floor(availableMemory() / layout.sites.length) });
  }
  for (const daemon of idle) {
    if (options.signal.aborted) throw new GridError('interrupted', 'interrupted while the grid came up');
    if (await startDaemon(daemon)) undo.add(() => stopProcess(daemon, 10));
  }
  await Promise.all(all.map((daemon) => awaitDaemon(daemon, options.signal)));
  options.say(`processes are up: ${all.map((daemon) => `${daemon.name} (pid ${runningPid(daemon) ?? '?'})`).join(', ')}`);
}

async function registerSites(layout: GridLayout, options: UpOptions): Promise<void> {
  const client = await gridClient(layout);
  const known = await client.listSites();
  for (const site of layout.sites) {
    const there = known.find(({ name }) => name === site.site);
    if (there?.url === site.url && there.subject === site.subject) continue;
    await client.registerSite({ name: site.site, url: site.url, subject: site.subject });
    options.say(`site ${site.site} is registered`);
  }
}
