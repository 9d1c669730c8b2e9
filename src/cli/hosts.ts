/** The actions of `gridvc host`. */
import { existsSync, readFileSync } from 'node:fs';
import type { HostKind, HostState, HostView } from '../domain/admin-views.js';
import { GridError } from '../domain/error.js';
import type { HeadOptions } from './commands/declare.js';
import { withHead } from './head-admin.js';
import { note, print, printJson, table } from './terminal.js';

export interface AddOptions extends HeadOptions {
  readonly kind: HostKind;
  readonly key: string;
  readonly hostKey: string;
  readonly subnet: string;
  readonly gateway: string;
  readonly range: string;
  readonly bridge: string;
  readonly user: string;
  readonly port: number;
  readonly home: string;
  readonly memory?: number;
  readonly disk?: number;
  readonly type?: string;
}

/** A host that hangs is given up by the head after two minutes. */
const slow = { seconds: 150 };

export async function add(name: string, address: string, options: AddOptions): Promise<number> {
  const { kind, key, subnet, gateway, bridge, user, port, home, memory, disk, type } = options;
  const [first = '', last = '', more] = options.range.split('-');
  if (last === '' || more !== undefined) throw new GridError('bad-request', `--range ${options.range} is not FIRST-LAST`, { hint: 'like 192.168.77.10-192.168.77.90' });
  const registration = {
    name, kind, address, port, user, key, hostKey: publicKey(options.hostKey), home, bridge, subnet, gateway, first, last,
    ...(memory === undefined ? {} : { memory }), ...(disk === undefined ? {} : { disk }), ...(type === undefined ? {} : { type }),
  };
  const answer = await withHead(options, (head) => head.call('addHost', { host: registration }, slow));
  return shown(answer, options);
}

export async function list(options: HeadOptions): Promise<void> {
  const { site, hosts } = await withHead(options, (head) => head.call('listHosts', {}));
  if (options.json === true) return printJson({ site, hosts });
  if (hosts.length === 0) return note(`site ${site} has no host yet: gridvc host add`);
  print(table(['host', 'kind', 'state', 'nodes', 'memory', 'disk', 'cpus', 'address', ''], hosts.map((host) => [
    host.name, host.kind, host.usable ? 'open' : host.problems.length > 0 ? 'not usable' : host.state, host.nodes, `${host.freeMemory}/${host.memory}`, `${host.freeDisk}/${host.disk}`, host.vcpus, host.address, host.registered ? '' : '(file)',
  ])));
  for (const host of hosts) for (const problem of host.problems) print(`${host.name}: ${problem}`);
  note(`site ${site}; memory and disk: MiB free of MiB for nodes`);
}

export async function check(name: string, options: HeadOptions): Promise<number> {
  return shown(await withHead(options, (head) => head.call('checkHost', { name }, slow)), options);
}

export async function setState(name: string, state: HostState, options: HeadOptions): Promise<number> {
  const answer = await withHead(options, (head) => head.call('setHostState', { name, state }));
  if (options.json === true) printJson(answer);
  else print(`${name}: ${answer.host.state}, ${answer.host.nodes} nodes`);
  return 0;
}

export async function remove(name: string, options: HeadOptions): Promise<void> {
  const { site } = await withHead(options, (head) => head.call('removeHost', { name }));
  if (options.json === true) printJson({ site });
  else print(`${name} is no host of site ${site} any more`);
}

/** Prints one host; 1 if it cannot be used. */
function shown(answer: { site: string; host: HostView }, options: HeadOptions): number {
  const { host } = answer;
  if (options.json === true) printJson(answer);
  else {
    print(`${host.name}: ${host.kind}, ${host.about === '' ? '' : `${host.about}, `}${host.vcpus} CPUs, ${host.memory} MiB memory and ${host.disk} MiB disk for nodes, ${host.nodes} nodes`);
    for (const problem of host.problems) print(`  ${problem}`);
    if (host.problems.length === 0) print(host.state === 'open' ? 'it can be used' : 'it is sound, and draining: gridvc host open');
  }
  return host.problems.length === 0 ? 0 : 1;
}

/** The line itself, or what the file has; without its comment. */
function publicKey(text: string): string {
  const line = (/^(ssh|ecdsa)-/.test(text) ? text : existsSync(text) ? readFileSync(text, 'utf8') : text).trim();
  return line.split(/\s+/).slice(0, 2).join(' ');
}
