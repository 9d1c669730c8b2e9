/** The actions of `gridvc grid`. */
import { GridError } from '../domain/error.js';
import { gridDown } from './grid/down.js';
import { gridStatus, type GridStatus } from './grid/status.js';
import { findGrid } from './grid/state.js';
import { gridUp } from './grid/up.js';
import { onInterrupt } from './interrupt.js';
import { stateHome, thisEnvironment } from './settings.js';
import { exitCodes, note, print, printJson, table } from './terminal.js';

export const defaultSites = ['alpha', 'beta'] as const;

export async function up(options: { readonly sites?: readonly string[] }): Promise<void> {
  const home = stateHome(thisEnvironment());
  requireRoot('grid up');
  const { signal, done } = onInterrupt(() => note('undoing what was started; again to end at once'));
  try {
    const sites = options.sites ?? findGrid(home)?.state.sites ?? defaultSites;
    const { state, layout } = await gridUp({ home, sites, signal, say: note });
    note(`the grid is up: gatekeeper ${layout.gatekeeper.url}, you are ${state.user}`);
    note('next: gridvc create --count 2 --package figlet --wait');
  } finally {
    done();
  }
}

export async function down(options: { readonly purge?: boolean; readonly force?: boolean }): Promise<void> {
  requireRoot('grid down');
  const home = stateHome(thisEnvironment());
  const there = await gridDown({ home, purge: options.purge === true, force: options.force === true, say: note });
  if (!there) note(`there is no grid under ${home}`);
}

export async function status(options: { readonly json?: boolean }): Promise<number> {
  const found = await gridStatus(stateHome(thisEnvironment()));
  if (options.json === true) printJson(found);
  else printStatus(found);
  return found.state === 'up' ? exitCodes.done : exitCodes.failed;
}

function printStatus(found: GridStatus): void {
  if (found.state === 'none') return print('there is no embedded grid here; make one: gridvc grid up');
  print(`the grid in ${found.directory} is ${found.state}`);
  print(table(['process', 'pid', 'port', 'answers', 'log'], found.processes.map((each) => [each.name, each.pid ?? '-', each.port, each.answers ? 'yes' : 'no', each.log])));
  print(`Globus clients (GRAM): ${found.gram?.answers === true ? `globusrun -r ${found.gram.contact}` : 'no answer on port 2119'}`);
  for (const problem of found.problems) print(`! ${problem}`);
  if (found.state !== 'up') print('bring it up: gridvc grid up');
}

export function requireRoot(what: string): void {
  if (process.getuid?.() === 0) return;
  throw new GridError('not-authorized', `${what} makes network namespaces, mounts and containers: it needs root`, { hint: `sudo gridvc ${what}` });
}
