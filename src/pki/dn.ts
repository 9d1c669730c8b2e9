/**
 * Distinguished names as Globus writes and compares them (shared PKI notes, "How Globus writes a DN"):
 * `/` short name `=` value for each RDN in the order of the certificate, bytes outside 0x20-0x7e as
 * `\xHH`, `/` and `+` inside values as `\/` and `\+`, parts of one RDN joined by `+`. Quotes and
 * backslashes stand as they are.
 */
import { DerError, readChildren, readOid, readOne, tags, type Der } from './der.js';
import { der, oid, sequence, setOf } from './der-write.js';

/** OID to short name, as OpenSSL has them. */
const shortNames: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.9.1': 'emailAddress',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
  '2.5.4.6': 'C',
  '2.5.4.8': 'ST',
  '2.5.4.7': 'L',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.3': 'CN',
  '2.5.4.42': 'GN',
  '2.5.4.4': 'SN',
  '2.5.4.12': 'title',
  '2.5.4.9': 'street',
  '2.5.4.17': 'postalCode',
  '2.5.4.5': 'serialNumber',
};

const oidsByName = new Map(Object.entries(shortNames).map(([dotted, name]) => [name.toLowerCase(), dotted]));
for (const [alias, name] of [['userid', 'uid'], ['e', 'emailaddress'], ['email', 'emailaddress']] as const) {
  oidsByName.set(alias, oidsByName.get(name) as string);
}

export const commonName = '2.5.4.3';

export interface Attribute {
  readonly type: string;
  readonly tag: number;
  readonly value: Uint8Array;
}

/** RDNs of a DER Name, each with its attributes. At most 64 RDNs, 16 attributes in one. */
export function readName(name: Der | Uint8Array): Attribute[][] {
  const sequenceOfRdns = name instanceof Uint8Array ? readOne(name, tags.sequence) : name;
  if (sequenceOfRdns.tag !== tags.sequence) throw new DerError('a name is not a sequence');
  return readChildren(sequenceOfRdns, 64).map((rdn) => {
    if (rdn.tag !== tags.set) throw new DerError('an RDN is not a set');
    const attributes = readChildren(rdn, 16).map(readAttribute);
    if (attributes.length === 0) throw new DerError('an empty RDN');
    if (attributes.length > 1) checkOrder(rdn);
    return attributes;
  });
}

/** DER: the members of a SET OF stand in the order of their bytes. */
function checkOrder(rdn: Der): void {
  const members = readChildren(rdn, 16);
  if (members.some((each, index) => index > 0 && Buffer.compare((members[index - 1] as Der).raw, each.raw) > 0)) throw new DerError('the parts of an RDN are not in the order of DER');
}

function readAttribute(value: Der): Attribute {
  const [type, text, ...rest] = readChildren(value, 3);
  if (value.tag !== tags.sequence || !type || !text || rest.length > 0) throw new DerError('malformed name attribute');
  return { type: readOid(type), tag: text.tag, value: text.body };
}

/** The Globus text of a DER Name. */
export function globusDn(name: Der | Uint8Array): string {
  return globusText(readName(name));
}

/** The Globus text of a name that was read. */
export function globusText(rdns: readonly (readonly Attribute[])[]): string {
  return rdns
    .map((rdn) => `/${rdn.map(attributeText).join('+')}`)
    .join('');
}

function attributeText({ type, value }: Attribute): string {
  const plain = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1');
  if (/^[ -*,-.0-~]*$/.test(plain)) return `${shortNames[type] ?? type}=${plain}`;
  let text = '';
  for (const byte of value) {
    if (byte < 0x20 || byte > 0x7e) text += `\\x${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    else if (byte === 0x2f || byte === 0x2b) text += `\\${String.fromCharCode(byte)}`;
    else text += String.fromCharCode(byte);
  }
  return `${shortNames[type] ?? type}=${text}`;
}

/**
 * DER Name of a Globus text; the reverse of globusDn. `/` starts an RDN only where `name=` follows, so
 * `/CN=host/foo.example.org` is one CN. DerError if the text is no DN or has an unknown name.
 */
export function encodeDn(text: string): Uint8Array {
  if (!text.startsWith('/') || text.length > 4096) throw new DerError(`${JSON.stringify(text.slice(0, 80))} is not a DN: it must look like /O=Grid/CN=Name`);
  const rdns = splitBefore(text, '/').map((rdn) => setOf(...splitBefore(rdn, '+').map((part) => encodeAttribute(part.slice(1)))));
  return sequence(...rdns);
}

/** Splits before each unescaped `separator` that a `name=` follows; each piece starts with the separator. */
function splitBefore(text: string, separator: '/' | '+'): string[] {
  const pieces: string[] = [];
  let start = 0;
  const pattern = separator === '/' ? /\\.|\/(?=[A-Za-z0-9.]{1,64}=)/g : /\\.|\+(?=[A-Za-z0-9.]{1,64}=)/g;
  for (const match of text.matchAll(pattern)) {
    if (match[0] !== separator || match.index === start) continue;
    pieces.push(text.slice(start, match.index));
    start = match.index;
  }
  return [...pieces, text.slice(start)];
}

function encodeAttribute(part: string): Uint8Array {
  const equals = part.indexOf('=');
  const name = part.slice(0, Math.max(equals, 0));
  const type = oidsByName.get(name.toLowerCase()) ?? (/^[0-2](\.\d{1,20}){1,20}$/.test(name) ? name : undefined);
  if (type === undefined) throw new DerError(`${JSON.stringify(name.slice(0, 40))} is not a known name of a DN part (such as C, O, OU, CN, DC, emailAddress)`);
  return encodeRdnValue(type, valueBytes(part.slice(equals + 1)));
}

function encodeRdnValue(type: string, value: Uint8Array): Uint8Array {
  const short = shortNames[type];
  const tag = short === 'C' || short === 'serialNumber' ? tags.printable : short === 'DC' || short === 'emailAddress' ? tags.ia5 : tags.utf8;
  return sequence(oid(type), der(tag, value));
}

/** `\xHH` is a byte, `\/` and `\+` the sign; any other backslash stands for itself; the rest is UTF-8. */
function valueBytes(text: string): Uint8Array {
  const parts = text.split(/(\\x[0-9A-Fa-f]{2}|\\[/+])/);
  return Buffer.concat(
    parts.map((part, index) => {
      if (index % 2 === 0) return Buffer.from(part);
      return part[1] === 'x' ? Buffer.from(part.slice(2), 'hex') : Buffer.from(part.slice(1));
    }),
  );
}

/** DER Name = `name` with one more CN RDN for each text; the bytes of `name` are kept as they are. */
export function appendCommonNames(name: Uint8Array, texts: readonly string[], tag: number = tags.utf8): Uint8Array {
  const rdns = texts.map((text) => setOf(sequence(oid(commonName), der(tag, Buffer.from(text)))));
  return sequence(readOne(name, tags.sequence).body, ...rdns);
}

/** The form in which two DNs are compared: lower case, after /UID= -> /USERID=, /E= and /Email= -> /emailAddress=. */
export function comparableDn(text: string): string {
  return text
    .replace(/\/(uid|e|email)=/gi, (_, name: string) => (name.toLowerCase() === 'uid' ? '/USERID=' : '/emailAddress='))
    .toLowerCase();
}

const stringTags: readonly number[] = [0x0c, 0x13, 0x14, 0x16, 0x1a, 0x1c, 0x1e];

/**
 * The form in which OpenSSL compares DER names and makes its file names from them: every text as
 * UTF-8, ASCII lower case, spaces trimmed and folded; no outer sequence.
 */
export function canonicalName(name: Uint8Array): Uint8Array {
  return canonicalRdns(readName(name));
}

/** canonicalName of a name that was read. */
export function canonicalRdns(name: readonly (readonly Attribute[])[]): Uint8Array {
  const rdns = name.map((rdn) => setOf(...rdn.map((attribute) => sequence(oid(attribute.type), canonicalValue(attribute)))));
  return Buffer.concat(rdns);
}

function canonicalValue({ tag, value }: Attribute): Uint8Array {
  if (!stringTags.includes(tag)) return der(tag, value);
  const folded = decodeText(tag, value)
    .replace(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g, '')
    .replace(/[ \t\n\v\f\r]+/g, ' ')
    .replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
  return der(tags.utf8, Buffer.from(folded));
}

function decodeText(tag: number, value: Uint8Array): string {
  const bytes = Buffer.from(value);
  if (tag === tags.utf8) return bytes.toString('utf8');
  if (tag === 0x1e) return bytes.length % 2 === 0 ? Buffer.from(bytes).swap16().toString('utf16le') : bytes.toString('latin1');
  if (tag === 0x1c) return Array.from({ length: bytes.length >> 2 }, (_, at) => safeCodePoint(bytes.readUInt32BE(at * 4))).join('');
  return bytes.toString('latin1');
}

function safeCodePoint(code: number): string {
  return code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd';
}
