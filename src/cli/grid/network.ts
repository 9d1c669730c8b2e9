/**
 * The embedded grid's networks: one bridge in the root namespace as "the Internet" (198.18.0.0/24), and per site
 * a network namespace with a private bridge for nodes, an uplink, address translation, and a forward policy that lets
 * nothing in. Sites cannot reach each other's nodes: both use the same private range, behind translation.
 *
 * Every step may be repeated; what is already there stays.
 */
import { existsSync } from 'node:fs';
import { GridError } from '../../domain/error.js';
import type { CommandResult, RunOptions } from '../../ports.js';
import { runCommand } from '../../proc/command.js';
import type { Releases } from '../releases.js';
import { lan, wan, type GridLayout, type SiteLayout } from './layout.js';

/** Makes what is missing; each thing newly made is registered in `undo`. */
export async function raiseNetworks(layout: GridLayout, undo: Releases): Promise<void> {
  if (!(await exists(['ip', 'link', 'show', 'dev', wan.bridge]))) {
    await must(['ip', 'link', 'add', wan.bridge, 'address', wan.bridgeAddress, 'type', 'bridge']);
    undo.add(() => dropLink(wan.bridge));
  }
  await must(['ip', 'addr', 'replace', `${wan.address}/${wan.prefix}`, 'dev', wan.bridge]);
  await must(['ip', 'link', 'set', wan.bridge, 'up']);
  await Promise.all(layout.sites.map((site) => raiseSite(site, undo)));
}

/** Removes all of it; what is not there is no error. */
export async function dropNetworks(layout: GridLayout): Promise<void> {
  await Promise.all(layout.sites.map(dropSite));
  await dropLink(wan.bridge);
}

/** Lines that say what is missing; none if all is up. */
export async function networkProblems(layout: GridLayout): Promise<string[]> {
  const wanted = [
    { what: `bridge ${wan.bridge}`, argv: ['ip', 'link', 'show', 'dev', wan.bridge] },
    ...layout.sites.flatMap((site) => [
      { what: `namespace ${site.netns}`, argv: ['ip', '-n', site.netns, 'link', 'show', 'dev', lan.bridge] },
      { what: `link ${site.link}`, argv: ['ip', 'link', 'show', 'dev', site.link] },
    ]),
  ];
  const there = await Promise.all(wanted.map(({ argv }) => exists(argv)));
  return wanted.filter((_, index) => there[index] === false).map(({ what }) => `${what} is missing`);
}

async function raiseSite(site: SiteLayout, undo: Releases): Promise<void> {
  const inside = ['ip', '-n', site.netns];
  if (!existsSync(`/run/netns/${site.netns}`)) {
    await must(['ip', 'netns', 'add', site.netns]);
    undo.add(() => dropSite(site));
  }
  if (!(await exists(['ip', 'link', 'show', 'dev', site.link]))) {
    await must(['ip', 'link', 'add', site.link, 'type', 'veth', 'peer', 'name', lan.uplink, 'netns', site.netns]);
    undo.add(() => dropLink(site.link));
  }
  await must(['ip', 'link', 'set', site.link, 'master', wan.bridge, 'up']);
  if (!(await exists([...inside, 'link', 'show', 'dev', lan.bridge]))) await must([...inside, 'link', 'add', lan.bridge, 'address', lan.bridgeAddress, 'type', 'bridge']);
  await must([...inside, 'addr', 'replace', `${lan.gateway}/${lan.prefix}`, 'dev', lan.bridge]);
  await must([...inside, 'addr', 'replace', `${site.address}/${wan.prefix}`, 'dev', lan.uplink]);
  for (const link of ['lo', lan.bridge, lan.uplink]) await must([...inside, 'link', 'set', link, 'up']);
  const enter = ['nsenter', `--net=/run/netns/${site.netns}`];
  await must([...enter, 'tee', '/proc/sys/net/ipv4/ip_forward'], { input: '1' });
  await must([...enter, 'nft', '-f', '-'], { input: rules });
  await must([...enter, 'ping', '-q', '-c', '1', '-W', '3', wan.address]);
}

/** Nodes may open connections outwards, nobody inwards; the table replaces an older one of ours. */
const rules = `table ip gridvc
delete table ip gridvc
table ip gridvc {
  chain forward {
    type filter hook forward priority filter; policy drop;
    iifname "${lan.bridge}" oifname "${lan.uplink}" accept
    iifname "${lan.uplink}" oifname "${lan.bridge}" ct state established,related accept
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "${lan.uplink}" masquerade
  }
}
`;

async function dropSite(site: SiteLayout): Promise<void> {
  await dropLink(site.link);
  if (existsSync(`/run/netns/${site.netns}`)) await must(['ip', 'netns', 'delete', site.netns]);
}

async function dropLink(link: string): Promise<void> {
  if (await exists(['ip', 'link', 'show', 'dev', link])) await must(['ip', 'link', 'delete', link]);
}

async function exists(argv: readonly string[]): Promise<boolean> {
  return (await runCommand(argv)).code === 0;
}

async function must(argv: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
  const result = await runCommand(argv, { seconds: 20, ...options });
  if (result.code === 0) return result;
  throw new GridError('unavailable', `the grid's network could not be made: ${result.reason}`, { hint: 'gridvc doctor says what this machine lacks' });
}
