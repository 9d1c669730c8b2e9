/**
 * grid-mapfile: `"DN" account[,account...]`, one a line, and `"/vo/group/Role=x" account`, `"/vo/*" account` as in a
 * voms-mapfile, in the same file. A person's own line counts before any of a VO; of FQANs the primary one is looked up
 * first. The first line for a name counts, and its first account; a leading dot (a pool of accounts) is part of its name.
 */
import type { Log } from '../../src/log.js';
import { LineError, readDnLine } from './dn-line.js';
import { NameLines, type NameLine } from './name-lines.js';
import { namePattern } from './name-pattern.js';

export type GridMap = NameLines<readonly string[]>;

export interface Mapped {
  readonly account: string;
  readonly line: number;
  /** The DN or pattern that decided, as written. */
  readonly by: string;
}

const account = /^\.?[A-Za-z_][A-Za-z0-9_.-]{0,63}$/;

/** Parses a map; a broken line is logged with its number and maps nobody. */
export function readGridMap(text: string, file: string, log: Log): GridMap {
  const lines: NameLine<readonly string[]>[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    try {
      const entry = readDnLine(line);
      if (!entry) continue;
      const accounts = entry.rest.split(',').map((each) => each.trim());
      if (!accounts.every((each) => account.test(each))) throw new LineError('after the name there must be an account, or several joined by commas');
      lines.push({ line: index + 1, pattern: namePattern(entry.dn, false), value: accounts });
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      log.warn({ file, line: index + 1, error: error.message }, 'a line of the grid-mapfile is broken and maps nobody');
    }
  }
  return new NameLines(lines);
}

/** Who a subject (Globus DN) with these FQANs is here; undefined: nobody. */
export function mapName(map: GridMap, subject: string, fqans: readonly string[] = []): Mapped | undefined {
  const found = map.ofDn(subject)[0] ?? fqans.flatMap((fqan) => map.ofFqan(fqan).slice(0, 1))[0];
  return found && { account: found.value[0] ?? '', line: found.line, by: found.pattern.text };
}

/** The account alone. */
export function accountOf(map: GridMap, subject: string, fqans: readonly string[] = []): string | undefined {
  return mapName(map, subject, fqans)?.account;
}
