/**
 * Globus signing_policy files: which names an authority may sign, read as the Grid Community Toolkit
 * reads them. Only `globus CA:sign` counts; of a pattern's `*` only the last one is a wildcard, and it
 * matches at least one character.
 */
import { comparableDn } from './dn.js';

interface Rule {
  readonly authority: string;
  readonly allow: boolean;
  readonly patterns: readonly string[];
}

export interface SigningPolicy {
  readonly rules: readonly Rule[];
}

/** The text is not a signing policy; the message has the line. */
export class SigningPolicyError extends Error {
  override readonly name = 'SigningPolicyError';
}

const largest = 1024 * 1024;

/** Reads a policy of at most 1 MiB. */
export function readSigningPolicy(text: string): SigningPolicy {
  if (text.length > largest) throw new SigningPolicyError(`longer than ${largest} characters`);
  const rules: Rule[] = [];
  let authority: string | undefined;
  let rights: { allow: boolean; sign: boolean } | undefined;
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const words = splitWords(line, index + 1);
    const [keyword, , value] = words;
    if (keyword === undefined) continue;
    if (value === undefined) throw new SigningPolicyError(`line ${index + 1}: ${JSON.stringify(keyword.slice(0, 40))} needs two more words`);
    if (keyword.startsWith('access_id')) {
      authority = keyword === 'access_id_CA' && words[1] === 'X509' ? value : '';
      rights = undefined;
    } else if (keyword === 'pos_rights' || keyword === 'neg_rights') {
      const sign = words[1] === 'globus' && value === 'CA:sign';
      const allow = keyword === 'pos_rights';
      rights = { allow, sign: sign || (rights?.allow === allow && rights.sign) };
    } else if (keyword === 'cond_subjects') {
      if (authority === undefined || !rights) throw new SigningPolicyError(`line ${index + 1}: cond_subjects before access_id_CA and pos_rights`);
      if (rights.sign && words[1] === 'globus') rules.push({ authority, allow: rights.allow, patterns: readPatterns(value) });
      rights = undefined;
    } else throw new SigningPolicyError(`line ${index + 1}: unknown keyword ${JSON.stringify(keyword.slice(0, 40))}`);
  }
  return { rules };
}

/** Words of a line: bare, or in single or double quotes; `#` starts a comment. */
function splitWords(line: string, number: number): string[] {
  const words: string[] = [];
  const pattern = /\s+|#.*|'([^']*)'|"([^"]*)"|([^\s'"#][^\s]*)/y;
  while (pattern.lastIndex < line.length) {
    const at = pattern.lastIndex;
    const match = pattern.exec(line);
    if (!match) throw new SigningPolicyError(`line ${number}: a quote at column ${at + 1} is not closed`);
    const word = match[1] ?? match[2] ?? match[3];
    if (word !== undefined) words.push(word);
  }
  return words;
}

/** `"/O=Grid/*" "/C=JP/*"`, or one bare pattern. */
function readPatterns(text: string): string[] {
  const quoted = [...text.matchAll(/"([^"]*)"/g)].map((match) => match[1] ?? '');
  return quoted.length > 0 ? quoted : [text.trim()];
}

/** Whether `authority` may sign `subject` (Globus DNs): some rule allows it and none denies it. */
export function maySign(policy: SigningPolicy, authority: string, subject: string): boolean {
  const matching = policy.rules.filter((rule) => comparableDn(rule.authority) === comparableDn(authority) && rule.patterns.some((pattern) => matches(pattern, subject)));
  return matching.length > 0 && matching.every(({ allow }) => allow);
}

function matches(pattern: string, subject: string): boolean {
  const [wanted, name] = [comparableDn(pattern), comparableDn(subject)];
  const star = wanted.lastIndexOf('*');
  if (star < 0) return wanted === name;
  const [start, end] = [wanted.slice(0, star), wanted.slice(star + 1)];
  return name.length > start.length + end.length && name.startsWith(start) && name.endsWith(end);
}
