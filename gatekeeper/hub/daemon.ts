/**
 * The openvpn process of one hub: its files, its start, its identity, its end. It outlives the gatekeeper; the next
 * gatekeeper knows it again by the pid file and a command line that names this cluster's configuration file.
 */
import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GridError } from '../../src/domain/error.js';
import { clientFile, hubConfig, type HubPaths } from '../../src/overlay/hub-config.js';
import type { Block } from '../../src/overlay/addresses.js';
import { runCommand, stopDaemon } from '../../src/proc/command.js';
import { openManagement } from './management.js';
import { deviceOf } from './namespace.js';

export interface HubClient {
  /** Common name of its certificate: <node>.<cluster>. */
  readonly name: string;
  readonly address: string;
}

export interface HubSpec {
  readonly cluster: string;
  readonly port: number;
  readonly block: Block;
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  readonly clients: readonly HubClient[];
  /** Serials (hex) that must not come in again. */
  readonly revoked: readonly string[];
}

export interface HubFiles extends HubPaths {
  readonly directory: string;
  readonly config: string;
}

export function hubFiles(home: string, cluster: string): HubFiles {
  const directory = join(home, 'hubs', cluster);
  const path = (name: string): string => join(directory, name);
  return {
    directory,
    config: path('hub.conf'),
    ca: path('ca.crt'),
    certificate: path('hub.crt'),
    key: path('hub.key'),
    clients: path('clients'),
    revoked: path('revoked'),
    management: path('management'),
    log: path('log'),
    pid: path('pid'),
  };
}

/** Writes everything openvpn reads. Only addresses and serials are readable by its unprivileged account. */
export async function writeHubFiles(spec: HubSpec, files: HubFiles): Promise<void> {
  await mkdir(files.directory, { recursive: true });
  await Promise.all([chmod(dirname(files.directory), 0o711), chmod(files.directory, 0o711)]);
  await rm(files.management, { force: true });
  for (const directory of [files.clients, files.revoked]) {
    await mkdir(directory, { recursive: true, mode: 0o755 });
    await chmod(directory, 0o755); // whatever the umask is
  }
  const account = (await openToOthers(files.directory)) ? { account: { user: 'nobody', group: 'nogroup' } } : {};
  await Promise.all([
    writeFile(files.ca, spec.ca, { mode: 0o600 }),
    writeFile(files.certificate, spec.certificate, { mode: 0o600 }),
    writeFile(files.key, spec.key, { mode: 0o600 }),
    writeFile(files.config, hubConfig({ device: deviceOf(spec.cluster), port: spec.port, block: spec.block, paths: files, ...account }), { mode: 0o600 }),
    ...spec.clients.map((client) => admit(files, client, spec.block.prefix)),
    ...spec.revoked.map((serial) => refuse(files, serial)),
  ]);
}

/** From now on a certificate with this common name may join, at this address. */
export async function admit(files: HubFiles, client: HubClient, prefix: number): Promise<void> {
  const path = join(files.clients, client.name);
  await writeFile(path, clientFile(client.address, prefix));
  await chmod(path, 0o644);
}

/** From now on the certificate with this serial (hex) is refused. openvpn looks for files named by the decimal serial. */
export async function refuse(files: HubFiles, serial: string): Promise<void> {
  await writeFile(join(files.revoked, BigInt(`0x${serial.replaceAll(':', '')}`).toString()), '');
}

/** Starts openvpn, detached; returns when its tun device must appear soon. */
export async function spawnHub(files: HubFiles): Promise<void> {
  await rm(files.pid, { force: true });
  const started = await runCommand(['openvpn', '--daemon', `gv-${files.directory.split('/').at(-1)}`, '--config', files.config], { seconds: 10 });
  if (started.code !== 0) throw new GridError('internal', `openvpn did not start: ${started.reason}`, { hint: await logTail(files) });
}

/** The pid of this hub's openvpn if it runs, else undefined. */
export async function hubPid(files: HubFiles): Promise<number | undefined> {
  const pid = Number((await readFile(files.pid, 'utf8').catch(() => '')).trim());
  if (!Number.isInteger(pid) || pid <= 1) return undefined;
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
  return words.includes(files.config) ? pid : undefined;
}

/** Asks it to end by its management socket, then by TERM and KILL; returns when it is gone. */
export async function killHub(files: HubFiles): Promise<void> {
  const pid = await hubPid(files);
  if (pid === undefined) return;
  const management = await openManagement(files.management).catch(() => undefined);
  const asked = management?.command('signal SIGTERM').catch(() => {}); // no answer: it is looked for below
  await Promise.race([asked, sleep(200)]); // openvpn listens to one at a time, and that may be another
  management?.close();
  for (let waited = 0; (await hubPid(files)) === pid; waited += 5) {
    if (waited === 500) await stopDaemon(pid); // waits longer than needed where process 1 is slow to collect the dead
    if (waited > 10_000) throw new GridError('internal', `openvpn (pid ${pid}) of ${files.directory} does not die`);
    await sleep(5);
  }
}

/** Last lines of openvpn's log, for a message. */
export async function logTail(files: HubFiles): Promise<string> {
  const text = await readFile(files.log, 'utf8').catch(() => '');
  return text.trim().split('\n').slice(-3).join(' | ') || `no log at ${files.log}`;
}

/** True if an unprivileged account can enter `directory`: then openvpn need not stay root. */
async function openToOthers(directory: string): Promise<boolean> {
  for (let at = directory; ; at = dirname(at)) {
    if (((await stat(at)).mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}
