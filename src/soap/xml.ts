/**
 * The one XML reader of gridvc, strict: UTF-8 only, no DOCTYPE, entity or processing instruction, bounded depth,
 * SOAP 1.1 envelope with exactly one element in its body. Server and client both read with it.
 *
 * It stands in for the reader of the `soap` package, which (1.13) lets a body write to Object.prototype
 * (id="__proto__"), reads "12abc" as 12, ignores namespaces and has no bound on depth.
 */
import sax from 'sax';
import { GridError } from '../domain/error.js';

export const envelopeNamespace = 'http://schemas.xmlsoap.org/soap/envelope/';
const schemaInstance = 'http://www.w3.org/2001/XMLSchema-instance';
const maxDepth = 32;
const maxAttributes = 32;

/** An element as it stood in the document; `text` is the text directly in it. */
export interface XmlElement {
  readonly name: string;
  readonly namespace: string;
  readonly attributes: readonly { readonly name: string; readonly namespace: string; readonly value: string }[];
  readonly children: XmlElement[];
  text: string;
}

/** A leaf is its text; anything else an object (no prototype) of its children, repeated ones as an array. */
export type XmlValue = string | XmlObject;
export interface XmlObject {
  [name: string]: XmlValue | XmlValue[];
}

/** Bytes -> text; refuses what is not UTF-8, naming the encoding if the document declares another. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new GridError('bad-request', 'the XML document is not valid UTF-8', { hint: 'send it as UTF-8; other encodings are not read' });
  }
}

/** Parses one document. Throws bad-request with the line of the fault. */
export function readXml(text: string): XmlElement {
  const parser = sax.parser(true, { xmlns: true });
  parser.ENTITIES = Object.assign(Object.create(null), { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" });
  const refuse = (why: string, hint?: string): never => {
    throw new GridError('bad-request', `XML, line ${parser.line + 1}: ${why}`, hint === undefined ? {} : { hint });
  };
  const open: XmlElement[] = [];
  let root: XmlElement | undefined;

  parser.onerror = (error) => refuse(error.message.split('\n')[0] ?? 'not well-formed');
  parser.ondoctype = () => refuse('a DOCTYPE is not allowed', 'remove the <!DOCTYPE ...> line, with any entities it declares');
  parser.onprocessinginstruction = ({ name, body }) => {
    if (name !== 'xml' || root) refuse(`the processing instruction <?${name.slice(0, 40)}?> is not allowed`);
    const encoding = /encoding\s*=\s*["']([^"']*)["']/.exec(body)?.[1];
    if (encoding !== undefined && !/^(utf-?8|us-ascii)$/i.test(encoding)) refuse(`the encoding ${JSON.stringify(encoding.slice(0, 40))} is not read`, 'send UTF-8');
  };
  parser.onopentag = (tag) => {
    if (open.length === maxDepth) refuse(`elements are nested deeper than ${maxDepth}`);
    const attributes = Object.values(tag.attributes);
    if (attributes.length > maxAttributes) refuse(`<${tag.local}> has more than ${maxAttributes} attributes`);
    const element: XmlElement = {
      name: tag.local,
      namespace: tag.uri,
      attributes: attributes.filter((a) => a.prefix !== 'xmlns' && a.local !== 'xmlns').map((a) => ({ name: a.local, namespace: a.uri, value: a.value })),
      children: [],
      text: '',
    };
    open.at(-1)?.children.push(element);
    root ??= element;
    open.push(element);
  };
  parser.onclosetag = () => void open.pop();
  const addText = (piece: string): void => {
    const top = open.at(-1);
    if (top) top.text += piece;
  };
  parser.ontext = addText;
  parser.oncdata = addText;
  parser.write(text).close();
  return root ?? refuse('the document is empty');
}

/** The one element in the body of a SOAP 1.1 envelope. */
export function readEnvelope(text: string): XmlElement {
  const envelope = readXml(text);
  if (envelope.name !== 'Envelope') throw new GridError('bad-request', `the document is <${envelope.name}>, not a SOAP envelope`);
  if (envelope.namespace !== envelopeNamespace) {
    throw new GridError('bad-request', `the envelope's namespace ${JSON.stringify(envelope.namespace.slice(0, 100))} is not SOAP 1.1`, { hint: `use ${envelopeNamespace}` });
  }
  for (const child of envelope.children) {
    if (child.name === 'Header') refuseMustUnderstand(child);
    else if (child.name !== 'Body') throw new GridError('bad-request', `the envelope has an element <${child.name}>; it may have Header and Body`);
  }
  const bodies = envelope.children.filter((child) => child.name === 'Body');
  const payload = bodies[0]?.children ?? [];
  if (bodies.length !== 1 || payload.length !== 1) {
    throw new GridError('bad-request', `the SOAP body has ${payload.length} elements; it must have exactly one, the operation`);
  }
  return payload[0]!;
}

/** No header of ours exists: one that insists on being understood is refused, others are ignored (SOAP 1.1, 4.2.3). */
function refuseMustUnderstand(header: XmlElement): void {
  for (const block of header.children) {
    if (block.attributes.some((a) => a.name === 'mustUnderstand' && a.namespace === envelopeNamespace && /^(1|true)$/.test(a.value))) {
      throw new GridError('bad-request', `the SOAP header <${block.name}> says mustUnderstand, but is not understood here`, { hint: 'no SOAP header is needed' });
    }
  }
}

/**
 * Payload of an operation -> plain values. Its children are in the service's namespace, everything below in `types`.
 * xsi:nil counts as absent. Refuses other namespaces, other attributes, and text beside elements.
 */
export function plainPayload(payload: XmlElement, types: string): XmlValue {
  return plain(payload, payload.namespace, types, payload.name);
}

function plain(element: XmlElement, childNamespace: string, types: string, path: string): XmlValue {
  for (const attribute of element.attributes) {
    if (attribute.namespace === schemaInstance || attribute.namespace === envelopeNamespace) continue;
    throw new GridError('bad-request', `${path}: unknown attribute ${JSON.stringify(attribute.name.slice(0, 80))}`, { hint: 'values are given as elements' });
  }
  if (element.children.length === 0) return element.text;
  if (/[^ \t\r\n]/.test(element.text)) throw new GridError('bad-request', `${path}: text stands beside elements`);
  const object = Object.create(null) as XmlObject;
  for (const child of element.children) {
    const at = `${path}/${child.name.slice(0, 80)}`;
    if (child.namespace !== childNamespace) {
      throw new GridError('bad-request', `${at}: wrong namespace ${JSON.stringify(child.namespace.slice(0, 100))}`, { hint: `this element is in the namespace ${childNamespace}` });
    }
    if (child.attributes.some((a) => a.namespace === schemaInstance && a.name === 'nil' && /^(1|true)$/.test(a.value))) continue;
    const value = plain(child, types, types, at);
    const before = object[child.name];
    if (before === undefined) object[child.name] = value;
    else if (Array.isArray(before)) before.push(value);
    else object[child.name] = [before, value];
  }
  return object;
}

/** Text as element content. Characters that XML 1.0 cannot hold (apt's output has some) become U+FFFD. */
export function escapeXml(text: string): string {
  if (!/[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/.test(text)) return text;
  return text
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('\r', '&#13;');
}
