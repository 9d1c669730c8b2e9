/**
 * `npm run demo`: the main job from a signed request to an MPI program over two sites (with --xen: over two real dom0s of one
 * site, on emulated machines), shown step by step with real packages, then torn down. Ctrl-C at any time takes down what it made; a second one does so by force.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { GridError, isGridError } from '../../domain/error.js';
import { defaultSites, requireRoot } from '../grid-commands.js';
import { stopProcess } from '../grid/daemons.js';
import { gridDown } from '../grid/down.js';
import { gridUp } from '../grid/up.js';
import { findGrid, runningGrid } from '../grid/state.js';
import { onInterrupt } from '../interrupt.js';
import { Releases } from '../releases.js';
import { stateHome, thisEnvironment } from '../settings.js';
import { planText } from '../stage-table.js';
import { exitCodes, print, report } from '../terminal.js';
import { createCluster, destroyCluster, planMpi, runMpi, type Show } from './main-job.js';
import { signIn } from './sign-in.js';
import { compareRuns, timeline } from './timeline.js';
import { raiseDom0s, registerDom0s, xenSites } from './xen.js';

export async function demo(options: { readonly cold?: boolean; readonly xen?: boolean }): Promise<number> {
  requireRoot('demo');
  const began = Date.now();
  const xen = options.xen === true;
  const usual = stateHome(thisEnvironment());
  const home = xen ? join(usual, 'xen') : usual; // its one site is none of the usual grid's
  const say = (text: string): void => print(`[${((Date.now() - began) / 1000).toFixed(1).padStart(6)} s] ${text}`);
  let forced = false;
  const { signal, done } = onInterrupt(
    () => say('interrupted: taking everything down (Ctrl-C again: by force)'),
    () => {
      forced = true;
      killProcesses(home);
    },
  );
  const releases = new Releases();
  let code: number = exitCodes.done;
  try {
    if (xen && runningGrid(usual) !== undefined) throw new GridError('wrong-state', 'a grid is up on this machine, and the demo on Xen makes one of its own', { hint: 'gridvc grid down, then the demo again' });
    await mainJob({ home, cold: options.cold === true, xen, say, signal, releases });
  } catch (error) {
    code = signal.aborted ? exitCodes.interrupted : report(error);
    if (signal.aborted && !isGridError(error, 'interrupted')) report(error);
  }
  try {
    await releases.run();
  } catch (error) {
    if (!forced) code = Math.max(code, report(error)); // else it complains of the processes that we killed
  } finally {
    done();
  }
  if (code === exitCodes.done) say(`success: the demo took ${((Date.now() - began) / 1000).toFixed(1)} s in all`);
  else say(signal.aborted ? 'interrupted; what the demo made is gone' : 'the demo failed; what it made is gone, logs and images are kept');
  return code;
}

/** The whole of it, one verb a line. */
async function mainJob(options: { home: string; cold: boolean; xen: boolean; say: (text: string) => void; signal: AbortSignal; releases: Releases }): Promise<void> {
  const { home, say, signal, releases } = options;
  const wasUp = runningGrid(home) !== undefined;
  if (options.cold) await removeCaches(home, wasUp, say);
  const bed = options.xen ? await raiseDom0s(options) : undefined;
  say(wasUp ? 'a grid is up already; it is used and left up' : `bringing up a grid of ${options.xen ? 'one site' : 'two sites'} on this machine`);
  if (!wasUp) releases.add(() => gridDown({ home, purge: false, force: false, say }));
  const grid = await gridUp({ home, sites: options.xen ? xenSites : (findGrid(home)?.state.sites ?? defaultSites), signal, say });
  if (bed !== undefined) await registerDom0s(grid.layout, bed, say);
  const { client, lines } = await signIn(grid.layout, Date.now());
  releases.add(() => client.close());
  say(`signed in by a proxy certificate:\n${lines}`);

  const show: Show = { client, signal, say, releases };
  say('asking for the plan (new sites first make their base images: a minute or so)');
  const { rsl, plan } = await planMpi(show);
  say(`the request: ${rsl.trim()}`);
  say(`the plan:\n${planText(plan)}`);
  const first = await createCluster(show, rsl);
  say(`the cluster is ready: ${first.nodes.map((node) => `${node.name} at ${node.site} (${node.overlayAddress})`).join(', ')}`);
  await runMpi(show, first);
  say(`where the time went, predicted and measured:\n${timeline(first)}`);
  await destroyCluster(show, first.id);

  say('the same again, now from the cache');
  const second = await createCluster(show, rsl);
  say(`where the time went:\n${timeline(second)}`);
  say(compareRuns(first, second));
  await destroyCluster(show, second.id);
}

async function removeCaches(home: string, up: boolean, say: (text: string) => void): Promise<void> {
  if (up) throw new GridError('wrong-state', 'a grid is up, and --cold would remove its images', { hint: 'gridvc grid down, then the demo again' });
  if (existsSync(home)) await gridDown({ home, purge: true, force: true, say });
}

/** The gentle ending then finds nobody to wait for and goes on with sweeping. */
function killProcesses(home: string): void {
  const layout = findGrid(home)?.layout;
  for (const daemon of layout === undefined ? [] : [layout.gatekeeper, ...layout.sites]) void stopProcess(daemon, 0);
}
