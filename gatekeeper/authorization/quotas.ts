/**
 * How much somebody may hold at one time: clusters, nodes, memory (MiB of all their nodes). Pure.
 *
 *   user "/O=Grid/CN=Alice" clusters=10 nodes=100     this person; also a pattern of DNs, or of FQANs: each who comes with one
 *   vo biomed nodes=400 memory=262144                 all who come as members of it together; vo * : each VO not named before
 *
 * For a person and for a VO the first line that fits counts. What it does not say holds, for a person, as the
 * configuration says (limits); a VO without a line has no limit. A broken line makes the file unusable.
 */
import type { Caller } from '../../src/domain/views.js';
import { encodeQuoted, LineError } from '../identity/dn-line.js';
import { namePattern } from '../identity/name-pattern.js';
import { NameLines, type NameLine } from '../identity/name-lines.js';

export const amounts = ['clusters', 'nodes', 'memory'] as const;
export type Amount = (typeof amounts)[number];
export type Holding = Readonly<Record<Amount, number>>;
export type Most = Readonly<Partial<Record<Amount, number>>>;

export interface Quotas {
  readonly users: NameLines<Most>;
  readonly vos: readonly { readonly line: number; readonly vo: string; readonly most: Most }[];
}

/** What holds for one person or VO. */
export interface Quota {
  readonly whose: string;
  /** "FILE:LINE", or the setting. */
  readonly where: string;
  readonly most: Most;
}

export const noQuotas: Quotas = { users: new NameLines([]), vos: [] };

/** The caller's own quota, and that of their VO if it has one. */
export function quotasOf(quotas: Quotas, file: string, limits: Most, caller: Pick<Caller, 'subject' | 'fqans' | 'vo'>): { owner: Quota; vo?: Quota } {
  const own = [...quotas.users.ofDn(caller.subject), ...caller.fqans.flatMap((fqan) => quotas.users.ofFqan(fqan))].reduce<NameLine<Most> | undefined>((first, each) => (first && first.line <= each.line ? first : each), undefined);
  const shared = caller.vo === '' ? undefined : quotas.vos.find(({ vo }) => vo === '*' || vo === caller.vo);
  return {
    owner: { whose: caller.subject, where: own ? `${file}:${own.line}` : 'limits of the configuration', most: { ...limits, ...own?.value } },
    ...(shared ? { vo: { whose: `VO ${caller.vo}`, where: `${file}:${shared.line}`, most: shared.most } } : {}),
  };
}

/** Why this would be too much, in words with asked, used and allowed; undefined if it is not. */
export function excess(quota: Quota, used: Holding, asked: Holding): string | undefined {
  const over = amounts.find((each) => used[each] + asked[each] > (quota.most[each] ?? Infinity));
  if (over === undefined) return undefined;
  const unit = { clusters: asked.clusters === 1 ? 'cluster' : 'clusters', nodes: asked.nodes === 1 ? 'node' : 'nodes', memory: 'MiB of memory' }[over];
  return `asked ${asked[over]} ${unit} more; used are ${used[over]}, allowed are ${quota.most[over]} (quota of ${quota.whose}: ${quota.where})`;
}

// ---------------------------------------------------------------- reading

const longest = 8192;

/** Parses a quota file. LineError naming the line. */
export function readQuotas(text: string): Quotas {
  const users: NameLine<Most>[] = [];
  const vos: Quotas['vos'][number][] = [];
  for (const [index, line] of text.split('\n').entries()) {
    try {
      const found = readLine(line);
      if (found?.kind === 'user') users.push({ line: index + 1, pattern: namePattern(found.name), value: found.most });
      if (found?.kind === 'vo') vos.push({ line: index + 1, vo: found.name, most: found.most });
    } catch (error) {
      if (error instanceof LineError) throw new LineError(`line ${index + 1}: ${error.message}`);
      throw error;
    }
  }
  return { users: new NameLines(users), vos };
}

function readLine(line: string): { kind: 'user' | 'vo'; name: string; most: Most } | undefined {
  if (line.length > longest) throw new LineError(`longer than ${longest} characters`);
  const text = line.trim();
  if (text === '' || text.startsWith('#')) return undefined;
  const parts = /^(user|vo)\s+(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))\s+(.*)$/.exec(text);
  if (!parts) throw new LineError('it is not: user "DN or FQAN" clusters=N nodes=N memory=N, or: vo NAME ...');
  const [, kind, quoted, bare = '', rest = ''] = parts;
  const name = quoted === undefined ? bare : encodeQuoted(quoted);
  if (kind === 'user' && !/^[/*]/.test(name)) throw new LineError('after "user" there must be a DN or an FQAN');
  if (kind === 'vo' && !/^([^/=*\s]+|\*)$/.test(name)) throw new LineError('after "vo" there must be the name of a VO, or *');
  return { kind: kind === 'vo' ? 'vo' : 'user', name, most: readMost(rest) };
}

function readMost(text: string): Most {
  const most: Partial<Record<Amount, number>> = {};
  for (const word of text.split(/\s+/)) {
    if (word.startsWith('#')) break;
    const [, name, value] = /^([a-z]+)=(\d{1,12})$/.exec(word) ?? [];
    const amount = amounts.find((each) => each === name);
    if (!amount || most[amount] !== undefined) throw new LineError(`${JSON.stringify(word.slice(0, 40))} is not one of clusters=N, nodes=N, memory=N (each once)`);
    most[amount] = Number(value);
  }
  if (Object.keys(most).length === 0) throw new LineError('a quota needs at least one of clusters=N, nodes=N, memory=N');
  return most;
}
