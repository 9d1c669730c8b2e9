/**
 * Names in files: a DN ("/O=Grid/CN=Alice") or a VOMS FQAN ("/vo/group/Role=x": its first part has no `=`), where `*`
 * stands for any characters. DNs are compared as Globus does (comparableDn), FQANs letter by letter without the empty
 * `/Role=NULL` and `/Capability=NULL`; "/vo/*" is also /vo itself, as it is for LCMAPS, to which VOMS says /vo/Role=NULL.
 * A `/` of a pattern never matches the `\/` inside a value: else O="x/CN=Alice" would be Alice. Matching takes linear time.
 */
import { comparableDn } from '../../src/pki/dn.js';
import { lookupForms } from './names-file.js';

export interface NamePattern {
  readonly kind: 'dn' | 'fqan';
  /** As written. */
  readonly text: string;
  /** What stands between the stars; one piece: no star. */
  readonly pieces: readonly string[];
}

/** @param stars false: a `*` is an ordinary character (of DNs; in FQANs it always is a wildcard) */
export function namePattern(text: string, stars = true): NamePattern {
  const kind = isFqan(text) ? 'fqan' : 'dn';
  const form = kind === 'fqan' ? plainFqan(text) : protect(comparableDn(text));
  return { kind, text, pieces: kind === 'dn' && !stars ? [form] : form.split('*') };
}

/** "/vo/group", not "/O=Grid/...". */
export function isFqan(text: string): boolean {
  return /^\/[^/=]+(\/|$)/.test(text);
}

/** An FQAN without its empty parts. */
export function plainFqan(fqan: string): string {
  return fqan.replace(/\/Capability=NULL$/, '').replace(/\/Role=NULL$/, '');
}

/** The VO of the primary FQAN, "" without any. */
export function voOf(fqans: readonly string[]): string {
  return fqans[0]?.split('/')[1] ?? '';
}

/** The forms under which a name of this kind is looked up, as patterns have them. */
export function comparableForms(kind: NamePattern['kind'], name: string): readonly string[] {
  const plain = plainFqan(name);
  return kind === 'dn' ? lookupForms(name).map(protect) : [plain, `${plain}/`];
}

/** @param forms of comparableForms for the pattern's kind */
export function matches({ pieces }: NamePattern, forms: readonly string[]): boolean {
  return forms.some((form) => fits(pieces, form));
}

/** True if the pattern is of this kind and fits the name. */
export function matchesName(pattern: NamePattern, kind: NamePattern['kind'], name: string): boolean {
  return pattern.kind === kind && matches(pattern, comparableForms(kind, name));
}

function protect(comparable: string): string {
  return comparable.replaceAll('\\/', '\u0001').replaceAll('\\+', '\u0002');
}

function fits(pieces: readonly string[], text: string): boolean {
  const first = pieces[0] ?? '';
  if (pieces.length === 1) return text === first;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = text.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  const last = pieces.at(-1) ?? '';
  return text.length - last.length >= at && text.endsWith(last);
}
