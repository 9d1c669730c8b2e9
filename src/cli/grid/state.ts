/**
 * What is written down about the embedded grid, and what of it lives. Synchronous and light: every
 * command asks it for its defaults.
 */
import { existsSync, readFileSync } from 'node:fs';
import { GridError } from '../../domain/error.js';
import { isName } from '../../domain/names.js';
import { gridLayout, type GridLayout, type ProcessLayout } from './layout.js';

export interface GridState {
  readonly version: 1;
  /** Subject DN of the user certificate. */
  readonly user: string;
  /** Account that the grid-mapfile gives it. */
  readonly account: string;
  readonly sites: readonly string[];
}

export interface EmbeddedGrid {
  readonly state: GridState;
  readonly layout: GridLayout;
}

/** The grid that `gridvc grid up` made under this home, running or not; undefined if there is none (or it may not be read). */
export function findGrid(home: string): EmbeddedGrid | undefined {
  const file = gridLayout(home, ['alpha']).state;
  if (!existsSync(file)) return undefined;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') return undefined;
    throw error;
  }
  const state = parseState(text);
  if (state === undefined) throw new GridError('wrong-state', `${file} is damaged`, { hint: 'remove the grid and make a new one: gridvc grid down --purge' });
  return { state, layout: gridLayout(home, state.sites) };
}

/** The grid under this home whose gatekeeper runs. */
export function runningGrid(home: string): EmbeddedGrid | undefined {
  const grid = findGrid(home);
  return grid !== undefined && runningPid(grid.layout.gatekeeper) !== undefined ? grid : undefined;
}

/** Pid of the process, if it lives and is really ours (a pid file outlives a reboot). */
export function runningPid(process: Pick<ProcessLayout, 'pid' | 'config'>): number | undefined {
  try {
    const pid = Number(readFileSync(process.pid, 'utf8'));
    if (!Number.isInteger(pid) || pid <= 1) return undefined;
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(process.config) ? pid : undefined;
  } catch {
    return undefined;
  }
}

function parseState(text: string): GridState | undefined {
  try {
    const { version, user, account, sites, ...rest } = JSON.parse(text) as Record<string, unknown>;
    if (version !== 1 || typeof user !== 'string' || typeof account !== 'string' || Object.keys(rest).length > 0) return undefined;
    if (!Array.isArray(sites) || !sites.every((site): site is string => typeof site === 'string' && isName('site', site))) return undefined;
    return { version, user, account, sites };
  } catch {
    return undefined;
  }
}
