/**
 * What attribute certificates are verified against: for each VO its .lsc files (who signs for it, by DN) and
 * the certificates of its servers. Values and the .lsc text; voms-directory.ts reads the files.
 */
import type { Certificate } from './certificate.js';
import type { Problem } from './trust.js';

/** Globus DNs, the server's first, then its issuer's, and so on. */
export type SignerChain = readonly string[];

export interface LscFile {
  readonly file: string;
  readonly chains: readonly SignerChain[];
}

export interface VirtualOrganisation {
  /** By host of the VOMS server, lower case. */
  readonly lsc: ReadonlyMap<string, LscFile>;
  readonly broken: readonly Problem[];
}

export interface VomsTrust {
  readonly directory: string;
  readonly organisations: ReadonlyMap<string, VirtualOrganisation>;
  /** Certificates of VOMS servers: of one VO (its directory), or of any (vo ""). */
  readonly servers: readonly { readonly file: string; readonly vo: string; readonly certificate: Certificate }[];
}

/** The text is no .lsc file; the message has the line. */
export class LscError extends Error {
  override readonly name = 'LscError';
}

const largest = 64 * 1024;

/** Chains of an .lsc file: a DN a line, `------ NEXT CHAIN ------` between chains, `#` comments. */
export function readLsc(text: string): SignerChain[] {
  if (text.length > largest) throw new LscError(`longer than ${largest} characters`);
  const chains: string[][] = [[]];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    if (/^-{2,}\s*NEXT CHAIN\s*-{2,}$/i.test(line)) chains.push([]);
    else if (line.startsWith('/') && line.length <= 4096) chains.at(-1)?.push(line);
    else throw new LscError(`line ${index + 1} is neither a DN nor "------ NEXT CHAIN ------": ${JSON.stringify(line.slice(0, 40))}`);
  }
  const filled = chains.filter(({ length }) => length > 0);
  const lonely = filled.find(({ length }) => length < 2);
  if (filled.length === 0) throw new LscError('there is no DN in it');
  if (lonely) throw new LscError(`a chain needs the server's DN and its issuer's, one a line; there is only ${lonely[0]}`);
  return filled;
}
