/**
 * `gridvc grid down`: clusters first (by their gatekeeper, so that certificates are revoked and rows closed), then the
 * processes, then whatever of ours a crash left behind, networks, database. Repeatable; each step runs even if an
 * earlier one failed, and the first failure is reported. Caches stay unless `purge`.
 */
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { GridError } from '../../domain/error.js';
import { isFinal } from '../../domain/lifecycle.js';
import { runCommand } from '../../proc/command.js';
import { stopPostgres } from '../../store/embedded.js';
import { Releases } from '../releases.js';
import { gridClient } from './client.js';
import { stopProcess } from './daemons.js';
import { gridLayout, type GridLayout } from './layout.js';
import { takeLock } from './lock.js';
import { dropNetworks } from './network.js';
import { findGrid, runningPid } from './state.js';

export interface DownOptions {
  readonly home: string;
  readonly purge: boolean;
  /** Do not wait for clusters to end in good order: stop the processes, then sweep. */
  readonly force: boolean;
  readonly say: (line: string) => void;
}

const destroySeconds = 120;

/** Takes the grid of this home down. @returns false if there was none */
export async function gridDown(options: DownOptions): Promise<boolean> {
  const layout = presentLayout(options.home);
  if (layout === undefined) return false;
  const unlock = takeLock(layout.lock);
  const steps = [
    ...(options.force ? [] : [() => destroyClusters(layout, options.say)]),
    () => stopAll(layout, options),
    () => sweep(layout, options.say),
    () => unmountBelow(layout.dir),
    () => dropNetworks(layout),
    () => stopPostgres({ home: layout.dir }),
    ...(options.purge ? [() => purge(layout.dir)] : []),
    unlock,
  ];
  const releases = new Releases();
  for (const step of steps.reverse()) releases.add(step);
  await releases.run();
  options.say(options.purge ? `the grid is down and ${layout.dir} is removed` : `the grid is down; its images stay in ${layout.dir} (remove them: gridvc grid down --purge)`);
  return true;
}

/** Also a grid whose state file was lost or damaged can be taken down: its directories tell the sites. */
function presentLayout(home: string): GridLayout | undefined {
  try {
    const found = findGrid(home)?.layout;
    if (found !== undefined) return found;
  } catch {
    // damaged: go by the directories
  }
  const { dir } = gridLayout(home, ['alpha']);
  if (!existsSync(dir)) return undefined;
  const sites = readdirSync(dir).flatMap((name) => (name.startsWith('head-') ? [name.slice('head-'.length)] : []));
  return gridLayout(home, sites.length > 0 ? sites : ['alpha']);
}

async function destroyClusters(layout: GridLayout, say: (line: string) => void): Promise<void> {
  if (runningPid(layout.gatekeeper) === undefined) return;
  const client = await gridClient(layout);
  const living = (await client.listClusters()).filter(({ state }) => state !== 'destroyed');
  await Promise.all(living.map(({ id }) => client.destroyCluster(id)));
  const deadline = Date.now() + destroySeconds * 1000;
  for (const { id } of living) {
    while (!isFinal((await client.getCluster(id)).state)) {
      if (Date.now() > deadline) return say(`cluster ${id} is still not destroyed after ${destroySeconds} s; going on by force`);
      await sleep(100);
    }
    say(`cluster ${id} is destroyed`);
  }
}

async function stopAll(layout: GridLayout, options: DownOptions): Promise<void> {
  const grace = options.force ? 3 : 20;
  for (const daemon of [layout.gatekeeper, ...layout.sites]) {
    if (await stopProcess(daemon, grace)) options.say(`${daemon.name} is stopped`);
  }
}

/** Nodes and hubs that outlived their keepers. */
async function sweep(layout: GridLayout, say: (line: string) => void): Promise<void> {
  const { removeHubs, removeNodes } = await import('./leftovers.js');
  const left = await Promise.allSettled([...layout.sites.map(removeNodes), removeHubs(layout)]);
  for (const each of left) {
    if (each.status === 'rejected') throw each.reason;
    for (const name of each.value) say(`left over and removed: ${name}`);
  }
}

/** Deepest first. */
async function unmountBelow(dir: string): Promise<void> {
  for (const point of mountsBelow(dir).reverse()) {
    const done = await runCommand(['umount', point]);
    if (done.code !== 0) await runCommand(['umount', '-l', point]);
  }
}

/** A purge must never walk into a mount: it might be the machine's own files. */
function purge(dir: string): void {
  const [mount] = mountsBelow(dir);
  if (mount !== undefined) throw new GridError('wrong-state', `${dir} is not removed, since ${mount} is still mounted`, { hint: `umount ${mount}, then gridvc grid down --purge` });
  rmSync(dir, { recursive: true, force: true });
}

function mountsBelow(dir: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))))
    .filter((point) => point.startsWith(`${dir}/`));
}
