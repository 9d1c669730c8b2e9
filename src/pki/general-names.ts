/**
 * GeneralNames (RFC 5280, 4.2.1.6), read strictly: a DNS name that is none, an address of five bytes or a
 * mailbox without a host is refused, since name constraints could not be applied to it.
 */
import { canonicalName } from './dn.js';
import { context, DerError, readChildren, readOne, tags, type Der } from './der.js';

export type NameForm = 'dns' | 'email' | 'uri' | 'ip' | 'directory' | 'other';

export type GeneralName =
  | { readonly form: 'dns' | 'email' | 'uri'; readonly text: string }
  | { readonly form: 'ip'; readonly bytes: Uint8Array }
  | { readonly form: 'directory'; /** canonicalName */ readonly canonical: Uint8Array }
  | { readonly form: 'other'; readonly tag: number };

const mostNames = 1024;

/** Names of a SubjectAltName; an empty list is a DerError. */
export function readGeneralNames(value: Uint8Array): GeneralName[] {
  const names = readChildren(readOne(value, tags.sequence), mostNames).map(readGeneralName);
  if (names.length === 0) throw new DerError('an empty list of alternative names');
  for (const name of names) checkSyntax(name);
  return names;
}

/** One name, whatever its text: bases of name constraints have rules of their own. */
export function readGeneralName(value: Der): GeneralName {
  switch (value.tag) {
    case context(1, false):
      return { form: 'email', text: ascii(value) };
    case context(2, false):
      return { form: 'dns', text: ascii(value) };
    case context(6, false):
      return { form: 'uri', text: ascii(value) };
    case context(7, false):
      return { form: 'ip', bytes: value.body };
    case context(4):
      return { form: 'directory', canonical: canonicalName(readOne(value.body, tags.sequence).raw) };
    case context(0):
    case context(3):
    case context(5):
    case context(8, false):
      return { form: 'other', tag: value.tag };
    default:
      throw new DerError('a name of an unknown form');
  }
}

function ascii(value: Der): string {
  if (value.body.some((byte) => byte > 0x7f)) throw new DerError('a name that is not ASCII');
  return Buffer.from(value.body).toString('latin1');
}

function checkSyntax(name: GeneralName): void {
  if (name.form === 'dns' && !isHostName(name.text.startsWith('*.') ? name.text.slice(2) : name.text)) throw new DerError(`${JSON.stringify(name.text.slice(0, 80))} is no DNS name`);
  if (name.form === 'ip' && name.bytes.length !== 4 && name.bytes.length !== 16) throw new DerError(`an IP address of ${name.bytes.length} bytes`);
  if (name.form === 'email' && splitMailbox(name.text) === undefined) throw new DerError(`${JSON.stringify(name.text.slice(0, 80))} is no mail address`);
}

const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i;

/** Letters, digits, hyphens; a last label of digits alone would be an address. */
export function isHostName(text: string): boolean {
  const labels = text.split('.');
  return text.length <= 253 && labels.every((each) => label.test(each)) && !/^\d+$/.test(labels.at(-1) ?? '');
}

/** Parts of local@host; undefined if it is none. */
export function splitMailbox(text: string): { local: string; host: string } | undefined {
  const at = text.lastIndexOf('@');
  const [local, host] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
  return at > 0 && /^[!-?A-~]+$/.test(local) && isHostName(host) ? { local, host: host.toLowerCase() } : undefined;
}

/** Host of a URI with an authority part, lower case; undefined if it has none or if it is an address. */
export function hostOfUri(text: string): string | undefined {
  const authority = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(text)?.[1];
  const host = authority?.replace(/^[^@]*@/, '').replace(/:\d*$/, '').toLowerCase();
  return host !== undefined && isHostName(host) ? host : undefined;
}
