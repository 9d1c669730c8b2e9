/**
 * Lines that start with a DN, as grid-mapfile has them: `"DN" rest`, or bare without spaces. Inside the
 * quotes `\c` is c and `\xHH` a byte; `\/` and `\+` stay as they are, since that is how OpenSSL 3 writes
 * such signs inside a value: reading them as plain `/` would turn O="x/CN=Alice" into Alice.
 */

/** The line is malformed; the message says how. */
export class LineError extends Error {
  override readonly name = 'LineError';
}

export interface DnLine {
  /** Globus text, bytes outside printable ASCII as \xHH. */
  readonly dn: string;
  readonly rest: string;
}

const longest = 8192;

/** Reads one line; undefined if it is empty or a comment. */
export function readDnLine(line: string): DnLine | undefined {
  if (line.length > longest) throw new LineError(`longer than ${longest} characters`);
  const text = line.trim();
  if (text === '' || text.startsWith('#')) return undefined;
  const match = text.startsWith('"') ? /^"((?:[^"\\]|\\.)*)"(?:\s+(.*))?$/.exec(text) : /^(\S+)(?:\s+(.*))?$/.exec(text);
  if (!match) throw new LineError('the DN is not closed by a quote, or something stands right behind it');
  const dn = encodeQuoted(text.startsWith('"') ? (match[1] ?? '') : (match[1] ?? '').replaceAll('\\', '\\\\'));
  if (!dn.startsWith('/') && !dn.startsWith('*')) throw new LineError('a DN starts with /, as in "/O=Grid/CN=Alice"');
  return { dn, rest: (match[2] ?? '').trim() };
}

/** What stands between quotes -> Globus text. */
export function encodeQuoted(quoted: string): string {
  return quoted.replace(/\\x([0-9A-Fa-f]{2})|\\([/+])|\\(.)|([^\x20-\x7e])/gu, (_, hex?: string, sign?: string, plain?: string, other?: string) => {
    if (hex !== undefined) return encodeByte(Number.parseInt(hex, 16));
    if (sign !== undefined) return `\\${sign}`;
    return [...Buffer.from(plain ?? other ?? '')].map(encodeByte).join('');
  });
}

function encodeByte(byte: number): string {
  return byte < 0x20 || byte > 0x7e ? `\\x${byte.toString(16).toUpperCase().padStart(2, '0')}` : String.fromCharCode(byte);
}

/** A Globus DN in quotes, so that readDnLine gives it back. */
export function quoteDn(dn: string): string {
  return `"${dn.replace(/\\(?:x(?:[01][0-9A-F]|7F|[89A-F][0-9A-F])|[/+])|["\\]/g, (found) => (found.length > 1 ? found : `\\${found}`))}"`;
}
