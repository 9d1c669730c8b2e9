/**
 * `gridvc doctor`: what this machine has and lacks, and the line that mends it. Checks are real where that is cheap
 * (namespaces are made, the tun device is opened), and change nothing.
 */
import { closeSync, existsSync, openSync, readFileSync, readdirSync, statfsSync } from 'node:fs';
import { X509Certificate } from 'node:crypto';
import { dirname, join } from 'node:path';
import pino from 'pino';
import { isGridError } from '../domain/error.js';
import { TrustDirectory } from '../pki/trust-directory.js';
import { commandPath, runCommand } from '../proc/command.js';
import { availableMemory } from './grid/memory.js';
import { embeddedGrid, findCredential, findGatekeeper, findTrust, stateHome, thisEnvironment } from './settings.js';
import { exitCodes, note, print, printJson, table } from './terminal.js';

export interface Finding {
  readonly what: string;
  readonly state: 'ok' | 'warning' | 'missing';
  readonly detail: string;
  /** What to do; "" if nothing. */
  readonly mend: string;
}

interface Need {
  readonly find: string;
  readonly package: string;
  readonly why: string;
  readonly use: 'run' | 'test';
}

const ok = (what: string, detail: string): Finding => ({ what, state: 'ok', detail, mend: '' });
const missing = (what: string, detail: string, mend: string): Finding => ({ what, state: 'missing', detail, mend });
const warning = (what: string, detail: string, mend: string): Finding => ({ what, state: 'warning', detail, mend });

/** The action: prints the table. @returns 1 if something needed lacks */
export async function doctor(options: { readonly client?: boolean; readonly json?: boolean }): Promise<number> {
  const findings = [node(), ...(options.client === true ? [] : [...(await needed()), ...testPackages(), ...resources(), await grid()]), ...credentials()];
  const lacking = findings.filter(({ state }) => state === 'missing');
  if (options.json === true) printJson({ ok: lacking.length === 0, findings });
  else {
    print(table(['state', 'what', 'detail'], findings.map(({ what, state, detail }) => [state === 'ok' ? 'ok' : state === 'warning' ? '!' : 'MISSING', what, detail])));
    const mends = findings.filter(({ mend }) => mend !== '');
    if (mends.length > 0) print(`\nto mend:\n${mends.map(({ what, mend }) => `  ${what}: ${mend}`).join('\n')}`);
    note(lacking.length === 0 ? '\nnothing that is needed lacks' : `\n${lacking.length} needed ${lacking.length === 1 ? 'thing lacks' : 'things lack'}`);
  }
  return lacking.length === 0 ? exitCodes.done : exitCodes.failed;
}

/** What the embedded grid cannot do without. */
export async function needed(): Promise<Finding[]> {
  const root = privilege();
  const kernel = root.state === 'ok' ? [await namespaces(), await fileSystem('squashfs'), await fileSystem('overlay'), device('/dev/net/tun', 'tun'), device('/dev/loop-control', 'loop')] : [];
  return [root, ...kernel, ...packages('run').map((need) => (finds(need.find) ? ok(need.package, need.why) : missing(need.package, `not installed: ${need.why}`, `apt-get install --no-install-recommends ${need.package} (all at once: sudo gridvc setup)`))), aptSources()];
}

function node(): Finding {
  return ok('node', `Node ${process.versions.node}`);
}

function privilege(): Finding {
  return process.getuid?.() === 0 ? ok('root', 'yes') : missing('root', 'a grid on this machine makes namespaces, mounts and containers', 'use sudo; to use a grid elsewhere no root is needed (gridvc doctor --client)');
}

async function namespaces(): Promise<Finding> {
  const made = await runCommand(['unshare', '--net', '--mount', '--pid', '--fork', 'true']);
  if (made.code === 0) return ok('namespaces', 'network, mount and process namespaces can be made');
  return missing('namespaces', made.reason, 'in a container, start it with all capabilities (docker run --privileged, systemd-nspawn --capability=all)');
}

async function fileSystem(name: string): Promise<Finding> {
  const known = (): boolean => readFileSync('/proc/filesystems', 'utf8').split('\n').some((line) => line.endsWith(`\t${name}`));
  if (known()) return ok(name, 'the kernel has it');
  const loadable = await runCommand(['modprobe', '-n', name]);
  if (loadable.code === 0) return ok(name, 'the kernel can load it');
  return missing(name, 'the kernel does not have this file system', `modprobe ${name} (on the host, if this is a container)`);
}

function device(path: string, name: string): Finding {
  try {
    closeSync(openSync(path, 'r+'));
    return ok(name, `${path} opens`);
  } catch (error) {
    return missing(name, `${path}: ${(error as Error).message}`, name === 'tun' ? 'modprobe tun; in a container: mkdir -p /dev/net && mknod /dev/net/tun c 10 200' : 'modprobe loop');
  }
}

function packages(use: Need['use']): Need[] {
  const file = join(import.meta.dirname, '../../../bin/needs.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as Need[]).filter((need) => need.use === use);
}

function testPackages(): Finding[] {
  return packages('test').filter((need) => !finds(need.find)).map((need) => warning(need.package, `not installed: ${need.why}`, `apt-get install --no-install-recommends ${need.package} (or: sudo gridvc setup --tests)`));
}

/** A command on the path of our children, or an absolute path with at most one `*` for a directory. */
export function finds(what: string): boolean {
  if (!what.startsWith('/')) return commandPath.split(':').some((dir) => existsSync(join(dir, what)));
  const [before = '', after] = what.split('*');
  if (after === undefined) return existsSync(what);
  const dir = before.replace(/\/[^/]*$/, '');
  return existsSync(dir) && readdirSync(dir).some((name) => existsSync(join(dir, name + after)));
}

function aptSources(): Finding {
  const parts = '/etc/apt/sources.list.d';
  const files = ['/etc/apt/sources.list', ...(existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : [])];
  const used = files.filter((file) => /\.(list|sources)$/.test(file) && existsSync(file) && /^(deb\s|Types:.*\bdeb\b)/m.test(readFileSync(file, 'utf8')));
  return used.length > 0 ? ok('apt sources', used.join(', ')) : missing('apt sources', 'no deb line in /etc/apt/sources.list or sources.list.d', 'name a Debian mirror there, or set apt.sources in the head\'s configuration');
}

function resources(): Finding[] {
  const home = stateHome(thisEnvironment());
  const memory = availableMemory();
  let there = home;
  while (!existsSync(there)) there = dirname(there);
  const space = statfsSync(there);
  const free = Math.floor((space.bavail * space.bsize) / 2 ** 20);
  return [
    memory >= 2048 ? ok('memory', `${memory} MiB available`) : warning('memory', `${memory} MiB available; four nodes of 320 MiB and a build want 2048`, 'ask for fewer or smaller nodes'),
    free >= 6144 ? ok('disk', `${free} MiB free for ${home}`) : warning('disk', `${free} MiB free for ${home}; images and nodes of the demo want 6144`, 'free some, or set GRIDVC_HOME to a larger file system'),
  ];
}

async function grid(): Promise<Finding> {
  const { gridStatus } = await import('./grid/status.js');
  try {
    const status = await gridStatus(stateHome(thisEnvironment()));
    if (status.state === 'partly up') return warning('grid', status.problems.join('; '), 'sudo gridvc grid up (or: sudo gridvc grid down)');
    return ok('grid', status.state === 'none' ? 'none on this machine (gridvc grid up makes one)' : `${status.state} in ${status.directory}`);
  } catch (error) {
    return warning('grid', (error as Error).message, isGridError(error) ? (error.hint ?? '') : '');
  }
}

/** What a user signs in with. Without a gatekeeper in sight nothing of it is needed yet. */
function credentials(): Finding[] {
  const environment = thisEnvironment();
  const found = attempt(() => ok('gatekeeper', findGatekeeper(environment)), 'gatekeeper', 'warning');
  const used = found.state === 'ok' ? 'missing' : 'warning';
  return [
    found,
    attempt(() => {
      const credential = findCredential(environment, embeddedGrid(environment));
      const ends = Date.parse(new X509Certificate(readFileSync(credential.certificate)).validTo);
      if (ends < Date.now()) return { ...missing('credential', `${credential.certificate} (${credential.from}) has expired`, credential.kind === 'proxy' ? 'gridvc proxy init' : 'ask your CA for a new certificate'), state: used };
      return ok('credential', `${credential.certificate} (${credential.from}), until ${new Date(ends).toISOString()}`);
    }, 'credential', used),
    ...trust(used),
  ];
}

function trust(severity: 'missing' | 'warning'): Finding[] {
  const environment = thisEnvironment();
  try {
    const dir = findTrust(environment, embeddedGrid(environment));
    const names = readdirSync(dir);
    const authorities = names.filter((name) => /^[0-9a-f]{8}\.\d+$/.test(name));
    if (authorities.length === 0) return [{ ...missing('trust', `${dir} has no CA (HASH.0)`, 'openssl rehash DIR makes the names'), state: severity }];
    const problems = authorities.flatMap((name) => authorityProblems(dir, name, names));
    return [ok('trust', `${dir}, ${authorities.length} ${authorities.length === 1 ? 'CA' : 'CAs'}`), ...problems, ...brokenFiles(dir, environment.variables['X509_VOMS_DIR']).filter(({ detail }) => !problems.some((told) => detail.startsWith(`${told.detail.split(' ')[0]}:`) && told.detail.includes('is not a certificate')))];
  } catch (error) {
    return [{ ...missing('trust', (error as Error).message, isGridError(error) ? (error.hint ?? '') : 'check X509_CERT_DIR'), state: severity }];
  }
}

/** As the gatekeeper reads them: a broken file disables its CA, or one server of one VO. */
function brokenFiles(dir: string, vomsdir: string | undefined): Finding[] {
  const trusted = TrustDirectory.open(dir, pino({ level: 'silent' }), { vomsdir: vomsdir || undefined });
  return trusted.problems().map(({ file, message }) => warning('trust', `${file}: ${message}: what it belongs to is disabled`, 'install it again from where the CA or VO distributes it, or remove it'));
}

function authorityProblems(dir: string, name: string, names: readonly string[]): Finding[] {
  const hash = name.slice(0, 8);
  const problems: Finding[] = [];
  if (!names.includes(`${hash}.signing_policy`)) problems.push(warning('trust', `${dir}/${hash}.signing_policy is missing: the gatekeeper refuses this CA's certificates`, 'install the file that the CA distributes'));
  if (!names.some((other) => other.startsWith(`${hash}.r`))) problems.push(warning('trust', `${dir}/${hash}.r0 is missing: revoked certificates of this CA are not noticed`, 'install its CRL (fetch-crl)'));
  try {
    const ends = Date.parse(new X509Certificate(readFileSync(join(dir, name))).validTo);
    if (ends < Date.now()) problems.push(warning('trust', `the CA in ${dir}/${name} has expired`, 'install its successor'));
  } catch (error) {
    problems.push(warning('trust', `${dir}/${name} is not a certificate: ${(error as Error).message}`, 'remove or replace it'));
  }
  return problems;
}

function attempt(check: () => Finding, what: string, severity: 'missing' | 'warning'): Finding {
  try {
    return check();
  } catch (error) {
    return { ...missing(what, (error as Error).message, isGridError(error) ? (error.hint ?? '') : ''), state: severity };
  }
}
