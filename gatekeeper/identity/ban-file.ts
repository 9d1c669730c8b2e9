/**
 * Banned DNs, one a line, quoted or bare, `*` at the end for all that start so. A line that cannot be
 * read makes the whole file unusable, and then nobody is let in: a ban must not vanish by a typing error.
 */
import { comparableDn } from '../../src/pki/dn.js';
import { LineError, readDnLine } from './dn-line.js';
import { lookupForms } from './names-file.js';

export interface Bans {
  readonly exact: ReadonlySet<string>;
  readonly prefixes: readonly string[];
}

/** Parses the file. LineError naming the line. */
export function readBans(text: string): Bans {
  const exact = new Set<string>();
  const prefixes: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const dn = bannedDn(line, index + 1);
    if (dn === undefined) continue;
    if (dn.endsWith('*')) prefixes.push(comparableDn(dn.slice(0, -1)));
    else exact.add(comparableDn(dn));
  }
  return { exact, prefixes };
}

/** A bare line is a DN to its end, spaces included. */
function bannedDn(line: string, number: number): string | undefined {
  const text = line.trim();
  try {
    const entry = readDnLine(text.startsWith('"') || text.startsWith('#') || text === '' ? text : `"${text.replace(/["\\]/g, '\\$&')}"`);
    if (entry && entry.rest !== '' && !entry.rest.startsWith('#')) throw new LineError('a ban is one DN a line');
    return entry?.dn;
  } catch (error) {
    if (error instanceof LineError) throw new LineError(`line ${number}: ${error.message}`);
    throw error;
  }
}

/** True if any form of the DN is banned. */
export function isBanned(bans: Bans, dn: string): boolean {
  return lookupForms(dn).some((form) => bans.exact.has(form) || bans.prefixes.some((prefix) => form.startsWith(prefix)));
}
