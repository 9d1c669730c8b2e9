/** `gridvc grid status`: what of the embedded grid is there. Reads only. */
import { answers } from './daemons.js';
import { networkProblems } from './network.js';
import { gramPort } from './layout.js';
import { findGrid, runningPid, type EmbeddedGrid } from './state.js';

export interface GridStatus {
  readonly state: 'none' | 'down' | 'up' | 'partly up';
  readonly directory?: string;
  readonly user?: string;
  readonly gatekeeper?: string;
  /** Where Globus clients go. */
  readonly gram?: { readonly contact: string; readonly answers: boolean };
  readonly processes: readonly { readonly name: string; readonly pid?: number; readonly port: number; readonly answers: boolean; readonly log: string }[];
  readonly problems: readonly string[];
}

/** @param home GRIDVC_HOME */
export async function gridStatus(home: string): Promise<GridStatus> {
  const grid = findGrid(home);
  if (grid === undefined) return { state: 'none', processes: [], problems: [] };
  const processes = await Promise.all([grid.layout.gatekeeper, ...grid.layout.sites].map(async (each) => {
    const pid = runningPid(each);
    return { name: each.name, ...(pid === undefined ? {} : { pid }), port: each.port, answers: pid !== undefined && (await answers(each.port)), log: each.log };
  }));
  const network = await networkProblems(grid.layout);
  const gram = { contact: `localhost:${gramPort}`, answers: processes[0]?.answers === true && (await answers(gramPort)) };
  return { ...judge(processes, network, grid), directory: grid.layout.dir, user: grid.state.user, gatekeeper: grid.layout.gatekeeper.url, gram, processes };
}

function judge(processes: GridStatus['processes'], network: readonly string[], grid: EmbeddedGrid): Pick<GridStatus, 'state' | 'problems'> {
  const dead = processes.filter((each) => !each.answers);
  if (dead.length === 0 && network.length === 0) return { state: 'up', problems: [] };
  const anyNetwork = network.length < 1 + 2 * grid.layout.sites.length;
  if (dead.length === processes.length && !anyNetwork) return { state: 'down', problems: [] };
  return { state: 'partly up', problems: [...dead.map((each) => `${each.name} ${each.pid === undefined ? 'does not run' : 'does not answer'} (log: ${each.log})`), ...network] };
}
