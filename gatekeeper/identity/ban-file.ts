/**
 * Who is banned, one name a line, quoted or bare, `*` for any characters:
 *   "/O=Grid/CN=Mallory"      this DN, wherever it stands in a chain: proxy, end entity or authority
 *   /O=Evil Corp/*            all DNs that begin so
 *   /vo/group/Role=x, /vo/*   everybody who comes with such an FQAN, primary or not
 *   ca "/O=Grid/CN=Bad CA"    everybody under this authority; no end entity of that name
 * A line that cannot be read makes the whole file unusable, and then nobody is let in: a ban must not vanish by a typing error.
 */
import { LineError, readDnLine } from './dn-line.js';
import { NameLines, type NameLine } from './name-lines.js';
import { namePattern } from './name-pattern.js';

export interface Bans {
  readonly names: NameLines<null>;
  readonly authorities: NameLines<null>;
}

export interface Ban {
  /** The DN or FQAN that is banned. */
  readonly name: string;
  readonly line: number;
}

/** Parses the file. LineError naming the line. */
export function readBans(text: string): Bans {
  const names: NameLine<null>[] = [];
  const authorities: NameLine<null>[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const banned = /^\s*(ca\s)?(.*)$/is.exec(line);
    const authority = banned?.[1] !== undefined;
    const name = bannedName(banned?.[2] ?? '', index + 1);
    const pattern = name === undefined ? undefined : namePattern(name);
    if (authority && pattern?.kind !== 'dn') throw new LineError(`line ${index + 1}: after "ca" there must be the DN of an authority`);
    if (pattern) (authority ? authorities : names).push({ line: index + 1, pattern, value: null });
  }
  return { names: new NameLines(names), authorities: new NameLines(authorities) };
}

/** A bare line is a name to its end, spaces included. */
function bannedName(line: string, number: number): string | undefined {
  const text = line.trim();
  try {
    const entry = readDnLine(text.startsWith('"') || text.startsWith('#') || text === '' ? text : `"${text.replace(/["\\]/g, '\\$&')}"`);
    if (entry && entry.rest !== '' && !entry.rest.startsWith('#')) throw new LineError('a ban is one name a line');
    return entry?.dn;
  } catch (error) {
    if (error instanceof LineError) throw new LineError(`line ${number}: ${error.message}`);
    throw error;
  }
}

/** The first ban on any of these: every DN of the chain, the authorities among them, FQANs. */
export function findBan(bans: Bans, of: { readonly names: readonly string[]; readonly authorities: readonly string[]; readonly fqans: readonly string[] }): Ban | undefined {
  const lookups = [
    ...of.names.map((name) => ({ name, lines: bans.names.ofDn(name) })),
    ...of.fqans.map((name) => ({ name, lines: bans.names.ofFqan(name) })),
    ...of.authorities.map((name) => ({ name, lines: bans.authorities.ofDn(name) })),
  ];
  const found = lookups.find(({ lines }) => lines.length > 0);
  return found && { name: found.name, line: found.lines[0]?.line ?? 0 };
}

/** True if any form of the DN is banned as such. */
export function isBanned(bans: Bans, dn: string): boolean {
  return bans.names.ofDn(dn).length > 0;
}
