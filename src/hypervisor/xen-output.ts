/**
 * What xl and xen-script.ts print, as values. Pure and strict: an unknown line or state is an error, never a guess.
 * Formats: tools/xl/xl_info.c (print_xen_info) and tools/xl/xl_list.c (list_domains) of Xen 4.14 to 4.20.
 */
import { isName } from '../domain/names.js';
import type { NodeId, NodeStatus } from '../domain/node.js';
import type { HostCheck } from '../ports.js';
import type { DomainType } from './xen-config.js';

/** What `xl info` says of a host; memory in MiB. */
export interface XenInfo {
  readonly version: { readonly major: number; readonly minor: number; readonly text: string };
  /** Kernel of dom0. */
  readonly release: string;
  readonly processors: number;
  readonly memory: { readonly total: number; readonly free: number };
  /** Kinds of domains that this hypervisor on this processor can run. */
  readonly types: readonly DomainType[];
}

export interface XenDomain {
  readonly name: string;
  readonly number: number;
  /** MiB */
  readonly memory: number;
  readonly state: 'running' | 'paused' | 'ended' | 'crashed' | 'dying';
}

/** @throws Error naming what is missing */
export function parseInfo(text: string): XenInfo {
  const fields = new Map<string, string>();
  for (const line of text.split('\n').filter((one) => one.trim() !== '')) {
    const found = /^([a-z_0-9]+) *:(?: (.*))?$/.exec(line.trimEnd());
    if (found?.[1] === undefined) throw new Error(`unknown line from xl info: ${line.slice(0, 200)}`);
    fields.set(found[1], found[2] ?? '');
  }
  const text_ = (name: string): string => {
    const value = fields.get(name);
    if (value === undefined) throw new Error(`xl info does not tell ${name}`);
    return value;
  };
  const number = (name: string): number => {
    if (!/^\d{1,12}$/.test(text_(name))) throw new Error(`xl info tells ${name} as ${JSON.stringify(text_(name).slice(0, 80))}, which is no number`);
    return Number(text_(name));
  };
  const capabilities = text_('xen_caps').split(' ');
  const types: DomainType[] = [];
  if (capabilities.includes('xen-3.0-x86_64')) types.push('pv');
  if (capabilities.includes('hvm-3.0-x86_64')) types.push('pvh');
  return {
    version: { major: number('xen_major'), minor: number('xen_minor'), text: text_('xen_version') },
    release: text_('release'),
    processors: number('nr_cpus'),
    memory: { total: number('total_memory'), free: number('free_memory') },
    types,
  };
}

/** Reads `xl list`: a headline, then name, number, memory, vCPUs, six letters or dashes, seconds. A name may hold spaces. */
export function parseDomains(text: string): readonly XenDomain[] {
  const [head = '', ...lines] = text.split('\n').filter((line) => line.trim() !== '');
  if (!/^Name +ID +Mem +VCPUs\s+State\s+Time\(s\)$/.test(head.trim())) throw new Error(`unknown headline from xl list: ${head.slice(0, 200)}`);
  return lines.map((line) => {
    const found = /^(.*?) +(\d+) +(\d+) +(\d+) +([r-][b-][p-][s-][c-][d-]) +(\d+\.\d)$/.exec(line.trimEnd());
    if (found === null) throw new Error(`unknown line from xl list: ${line.slice(0, 200)}`);
    const [, name = '', number, memory, , letters = ''] = found;
    return { name: name.trim(), number: Number(number), memory: Number(memory), state: stateOf(letters) };
  });
}

/** Letters: running, blocked, paused, shut down, crashed, dying; all dashes: it could run and waits for a processor. */
function stateOf(letters: string): XenDomain['state'] {
  if (letters.includes('d')) return 'dying';
  if (letters.includes('c')) return 'crashed';
  if (letters.includes('s')) return 'ended';
  if (letters.includes('p')) return 'paused';
  return 'running';
}

/** The domains of ours among all: gv-<owner>-<cluster>-<node>. */
export function ourDomains(domains: readonly XenDomain[], owner: string): readonly (XenDomain & { id: NodeId })[] {
  const prefix = `gv-${owner}-`;
  return domains.flatMap((domain) => {
    const id = domain.name.startsWith(prefix) ? nodeId(domain.name.slice(prefix.length)) : undefined;
    return id === undefined ? [] : [{ ...domain, id }];
  });
}

/** Reads the output of the verb `list`: "node <id> started|defined" lines, "domains", then xl list. */
export function parseList(stdout: string, owner: string): readonly NodeStatus[] {
  const [before, after] = sections(stdout, 'domains');
  const domains = new Map(ourDomains(parseDomains(after), owner).map((domain) => [`${domain.id.cluster}-${domain.id.node}`, domain]));
  const statuses = before.split('\n').filter((line) => line !== '').map((line): NodeStatus => {
    const [word, text = '', mark] = line.split(' ');
    const id = nodeId(text);
    if (word !== 'node' || id === undefined || (mark !== 'started' && mark !== 'defined')) throw new Error(`unknown line from the host: ${line.slice(0, 200)}`);
    const domain = domains.get(text);
    domains.delete(text);
    return { id, state: mark === 'defined' ? 'defined' : domain !== undefined && (domain.state === 'running' || domain.state === 'paused') ? 'running' : 'stopped' };
  });
  // A domain of ours without a directory: somebody emptied the home. It is listed so that it can be removed.
  return [...statuses, ...[...domains.values()].map(({ id }): NodeStatus => ({ id, state: 'defined' }))];
}

const bootHint = (option: string): string => `put ${option} into GRUB_CMDLINE_XEN in /etc/default/grub, update-grub, reboot`;

/** What each missing thing is, and the command that mends it. */
const remedies: Readonly<Record<string, (bridge: string) => string>> = {
  root: () => 'not root: log in to the host as root',
  xl: () => 'xl is missing: apt-get install xen-system-amd64 && reboot',
  'xenstore-read': () => 'xenstore-read is missing: apt-get install xenstore-utils',
  'xenstore-write': () => 'xenstore-write is missing: apt-get install xenstore-utils',
  xenstore: () => 'xenstored does not answer: systemctl restart xen, or reboot into Xen',
  xenconsoled: () => 'xenconsoled does not run, so no console would be kept: systemctl restart xen',
  ip: () => 'ip is missing: apt-get install iproute2',
  mount: () => 'mount is missing: apt-get install mount',
  losetup: () => 'losetup is missing: apt-get install mount',
  'mkfs.ext4': () => 'mkfs.ext4 is missing: apt-get install e2fsprogs',
  flock: () => 'flock is missing: apt-get install util-linux',
  dd: () => 'dd is missing: apt-get install coreutils',
  truncate: () => 'truncate is missing: apt-get install coreutils',
  squashfs: () => 'the kernel of dom0 cannot mount squashfs: modprobe squashfs',
  ext4: () => 'the kernel of dom0 cannot mount ext4: modprobe ext4',
  loop: () => 'there are no loop devices (/dev/loop-control): modprobe loop',
  blkback: () => 'dom0 cannot serve disks: modprobe xen-blkback',
  netback: () => 'dom0 cannot serve network cards: modprobe xen-netback',
  bridge: (bridge) => `bridge ${bridge} is missing: ip link add ${bridge} type bridge && ip link set ${bridge} up`,
};

/** The oldest Xen that this driver was written for (Debian 11). */
const oldest = { major: 4, minor: 14 };
/** Less than this beside dom0 and our own nodes is no room for nodes. */
const leastFree = 256; // MiB
/** Page tables and shadows of the domains come out of the same memory. */
const usable = 0.97;
const leastDisk = 1024; // MiB

/** Reads the output of the verb `check`. @param wanted kind of domain that the site's configuration insists on */
export function parseCheck(stdout: string, options: { bridge: string; owner: string; wanted?: DomainType | undefined }): HostCheck & { readonly type?: DomainType } {
  const [before, after] = sections(stdout, 'info');
  const has = new Set<string>();
  let disk = 0;
  for (const line of before.split('\n').filter((text) => text !== '')) {
    const [word = '', value = ''] = line.split(' ');
    if (word === 'has' && Object.hasOwn(remedies, value)) has.add(value);
    else if (word === 'disk' && /^\d+$/.test(value)) disk = Number(value);
    else throw new Error(`unknown line from the host check: ${line.slice(0, 200)}`);
  }
  const problems = Object.entries(remedies).filter(([name]) => !has.has(name)).map(([, remedy]) => remedy(options.bridge));
  if (disk < leastDisk) problems.push(`only ${disk} MiB are free where nodes' disks would be: free some, or give this host another home`);
  const [infoText, listText] = sections(after, 'domains');
  if (infoText.trim() === '') return { ok: false, problems: [...problems, 'xl info fails: this kernel does not run on Xen; apt-get install xen-system-amd64, then reboot and choose Xen in the boot menu'], memory: 0, disk, vcpus: 0 };
  const info = parseInfo(infoText);
  const own = listText.trim() === '' ? 0 : ourDomains(parseDomains(listText), options.owner).reduce((sum, domain) => sum + domain.memory, 0);
  const memory = Math.floor((info.memory.free + own) * usable);
  const type = options.wanted ?? info.types[0];
  if (info.version.major < oldest.major || (info.version.major === oldest.major && info.version.minor < oldest.minor)) problems.push(`Xen ${info.version.text} is too old; ${oldest.major}.${oldest.minor} is the oldest that works: upgrade to a newer Debian release`);
  if (type === undefined || !info.types.includes(type)) problems.push(type === 'pvh' ? 'this processor has no hardware virtualization for PVH domains: enable VT-x or AMD-V in the firmware, or leave the host\'s setting "type" out' : `this hypervisor runs no ${type?.toUpperCase() ?? 'PV'} domains: install Debian's xen-hypervisor-amd64`);
  if (memory < leastFree) problems.push(`only ${info.memory.free} MiB of memory are free beside dom0: ${bootHint('dom0_mem=1024M,max:1024M')}`);
  return { ok: problems.length === 0, problems, memory, disk, vcpus: info.processors, about: `Xen ${info.version.text}, ${type?.toUpperCase() ?? '?'} domains, dom0 kernel ${info.release}`, ...(type === undefined ? {} : { type }) };
}

/** Why xl create failed, in one line, and whether it was for lack of memory. @param output all that it printed */
export function createFailure(output: string): { readonly memory: boolean; readonly text: string } {
  const lines = output.split('\n').map((line) => line.replace(/^(libxl|xc|xl): ?/, '').trim()).filter((line) => line !== '');
  const told = lines.filter((line) => /error|fail|cannot|can't|not |out of/i.test(line)).map((line) => line.replace(/^error: /, '').replace(/^[a-z_A-Z0-9]+\.c:\d+:[A-Za-z0-9_]*:? ?/, '').replace(/^Domain \d+:/, ''));
  const memory = /failed to free memory|out of memory|not enough (free )?memory|cannot allocate memory|can't allocate|insufficient memory|ENOMEM|xc_domain_populate|increase_reservation/i.test(output);
  return { memory, text: (told[0] ?? lines[0] ?? 'xl create said nothing').slice(0, 300) };
}

function nodeId(text: string): NodeId | undefined {
  const [cluster = '', node = '', more] = text.split('-');
  return more === undefined && isName('cluster', cluster) && isName('node', node) ? { cluster, node } : undefined;
}

function sections(text: string, mark: string): readonly [string, string] {
  const lines = text.split('\n');
  const at = lines.indexOf(mark);
  if (at < 0) throw new Error(`the host's answer has no line ${JSON.stringify(mark)}: ${text.slice(0, 200)}`);
  return [lines.slice(0, at).join('\n'), lines.slice(at + 1).join('\n')];
}
