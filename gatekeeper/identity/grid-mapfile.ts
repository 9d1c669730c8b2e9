/** grid-mapfile: `"DN" account[,account...]`, one a line. The first line for a DN counts, and its first account. */
import type { Log } from '../../src/log.js';
import { comparableDn } from '../../src/pki/dn.js';
import { LineError, readDnLine } from './dn-line.js';
import { lookupForms } from './names-file.js';

export type GridMap = ReadonlyMap<string, readonly string[]>;

const account = /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/;

/** Parses a map; a broken line is logged with its number and maps nobody. */
export function readGridMap(text: string, file: string, log: Log): GridMap {
  const map = new Map<string, readonly string[]>();
  for (const [index, line] of text.split('\n').entries()) {
    try {
      const entry = readDnLine(line);
      if (!entry) continue;
      const accounts = entry.rest.split(',').map((each) => each.trim());
      if (!accounts.every((each) => account.test(each))) throw new LineError('after the DN there must be an account, or several joined by commas');
      const key = comparableDn(entry.dn);
      if (!map.has(key)) map.set(key, accounts);
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      log.warn({ file, line: index + 1, error: error.message }, 'a line of the grid-mapfile is broken and maps nobody');
    }
  }
  return map;
}

/** The account of a subject (Globus DN), or undefined. */
export function accountOf(map: GridMap, subject: string): string | undefined {
  for (const form of lookupForms(subject)) {
    const accounts = map.get(form);
    if (accounts) return accounts[0];
  }
  return undefined;
}
