/**
 * Who may do what: ordered rules, the first one that fits decides, and what no rule fits is denied. Pure.
 *
 *   permit|deny  operation[,operation...]|*  [condition ...]        # comment
 *   conditions, all of which must hold: role=user  dn="/O=Grid/CN=*"  fqan="/vo/Role=x"  ca="/O=Grid/CN=CA"  vo=biomed  limited
 *
 * `fqan` looks at all FQANs, `vo` at the primary one's VO. One line that cannot be read makes the whole file unusable: a
 * deny must not vanish by a typing error.
 */
import type { Caller, Role } from '../../src/domain/views.js';
import { LineError, encodeQuoted } from '../identity/dn-line.js';
import { matchesName, namePattern, type NamePattern } from '../identity/name-pattern.js';
import { readRole } from '../identity/roles-file.js';
import { operations, type Operation } from './operations.js';

export type Condition =
  | { readonly kind: 'role'; readonly role: Role }
  | { readonly kind: 'dn' | 'ca' | 'fqan'; readonly pattern: NamePattern }
  | { readonly kind: 'vo'; readonly vo: string }
  | { readonly kind: 'limited' };

export interface Rule {
  readonly effect: 'permit' | 'deny';
  readonly operations: readonly Operation[] | 'all';
  readonly conditions: readonly Condition[];
  readonly line: number;
  /** As written, without its comment. */
  readonly text: string;
}

/** What rules look at. */
export type Subject = Pick<Caller, 'subject' | 'issuer' | 'roles' | 'fqans' | 'vo' | 'limited'>;

export interface Decision {
  readonly permitted: boolean;
  /** The rule that decided; none: no rule fits. */
  readonly rule?: Rule;
}

export function decide(rules: readonly Rule[], subject: Subject, operation: Operation): Decision {
  const rule = rules.find((each) => covers(each, operation) && each.conditions.every((condition) => holds(condition, subject)));
  return rule ? { permitted: rule.effect === 'permit', rule } : { permitted: false };
}

/** Roles that alone would open this operation to the subject, for the hint of a refusal. */
export function rolesThatWouldDo(rules: readonly Rule[], subject: Subject, operation: Operation): readonly Role[] {
  const asked = (['user', 'site-admin', 'grid-admin'] as const).filter((role) => !subject.roles.includes(role));
  return asked.filter((role) => decide(rules, { ...subject, roles: [...subject.roles, role] }, operation).permitted);
}

function covers(rule: Rule, operation: Operation): boolean {
  return rule.operations === 'all' || rule.operations.includes(operation);
}

function holds(condition: Condition, subject: Subject): boolean {
  switch (condition.kind) {
    case 'role':
      return subject.roles.includes(condition.role);
    case 'dn':
      return matchesName(condition.pattern, 'dn', subject.subject);
    case 'ca':
      return matchesName(condition.pattern, 'dn', subject.issuer);
    case 'fqan':
      return subject.fqans.some((fqan) => matchesName(condition.pattern, 'fqan', fqan));
    case 'vo':
      return subject.vo === condition.vo;
    case 'limited':
      return subject.limited;
  }
}

// ---------------------------------------------------------------- reading

const longest = 8192;
/** name="quoted", or a word without quotes. */
const word = /\s*(?:([a-z]+)="((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)/y;

/** Parses a rules file. LineError naming the line. */
export function readRules(text: string): readonly Rule[] {
  return text.split('\n').flatMap((line, index) => {
    try {
      return readRule(line, index + 1) ?? [];
    } catch (error) {
      if (error instanceof LineError) throw new LineError(`line ${index + 1}: ${error.message}`);
      throw error;
    }
  });
}

function readRule(line: string, number: number): Rule | undefined {
  const words = splitWords(line);
  const [effect, which, ...conditions] = words;
  if (!effect) return undefined;
  if (effect.text !== 'permit' && effect.text !== 'deny') throw new LineError(`${shown(effect.text)} is neither permit nor deny`);
  if (!which) throw new LineError(`after ${effect.text} there must be operations, joined by commas, or *`);
  return {
    effect: effect.text,
    operations: which.text === '*' ? 'all' : which.text.split(',').map(readOperation),
    conditions: conditions.map(readCondition),
    line: number,
    text: line.slice(0, words.at(-1)?.end).trim(),
  };
}

interface Word {
  readonly text: string;
  readonly quoted?: string;
  readonly end: number;
}

/** The words of a line up to its comment. */
function splitWords(line: string): Word[] {
  if (line.length > longest) throw new LineError(`longer than ${longest} characters`);
  const text = line.trimEnd();
  const words: Word[] = [];
  for (let at = 0; at < text.length; at = word.lastIndex) {
    word.lastIndex = at;
    const found = word.exec(text);
    if (!found) throw new LineError(`${shown(text.slice(at).trim())} cannot be read: a quote is open, or something stands right behind one`);
    const [, name, quoted, plain] = found;
    if (plain?.startsWith('#')) break;
    words.push(name !== undefined && quoted !== undefined ? { text: name, quoted, end: word.lastIndex } : { text: plain ?? '', end: word.lastIndex });
  }
  return words;
}

/** One operation by name. LineError with the allowed ones. */
export function readOperation(text: string): Operation {
  const found = operations.find((each) => each === text);
  if (!found) throw new LineError(`${shown(text)} is not an operation; allowed: ${operations.join(', ')}`);
  return found;
}

const kinds = ['role', 'dn', 'ca', 'fqan', 'vo', 'limited'] as const;

function readCondition({ text, quoted }: Word): Condition {
  const equals = text.indexOf('=');
  const name = quoted === undefined && equals >= 0 ? text.slice(0, equals) : text;
  const bare = equals >= 0 ? encodeQuoted(text.slice(equals + 1).replaceAll('\\', '\\\\')) : undefined;
  const value = quoted === undefined ? bare : encodeQuoted(quoted);
  const kind = kinds.find((each) => each === name);
  if (!kind || (kind === 'limited') !== (value === undefined)) throw new LineError(`${shown(text)} is not a condition; allowed: role=..., dn="...", ca="...", fqan="...", vo=..., limited`);
  switch (kind) {
    case 'limited':
      return { kind };
    case 'role':
      return { kind, role: readRole(value ?? '') };
    case 'vo':
      if (!/^[^/=*\s]+$/.test(value ?? '')) throw new LineError(`${shown(value ?? '')} is not the name of a VO`);
      return { kind, vo: value ?? '' };
    default:
      return { kind, pattern: readPattern(kind, value ?? '') };
  }
}

function readPattern(kind: 'dn' | 'ca' | 'fqan', text: string): NamePattern {
  const pattern = namePattern(text);
  if ((pattern.kind === 'fqan') !== (kind === 'fqan') || !/^[/*]/.test(text)) throw new LineError(`${shown(text)} is not ${kind === 'fqan' ? 'an FQAN, as in /vo/group/Role=x' : 'a DN, as in "/O=Grid/CN=Alice"'}`);
  return pattern;
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 60));
}
