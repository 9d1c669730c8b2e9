/** The SOAP 1.1 envelope around an operation, and the operation's elements as plain values. Strict, like the reader below it. */
import { GridError } from '../domain/error.js';
import type { XmlElement } from './xml.js';
import { readXml } from './xml.js';

export const envelopeNamespace = 'http://schemas.xmlsoap.org/soap/envelope/';
const schemaInstance = 'http://www.w3.org/2001/XMLSchema-instance';

/** A leaf is its text; anything else an object (no prototype) of its children, repeated ones as an array. */
export type XmlValue = string | XmlObject;
export interface XmlObject {
  [name: string]: XmlValue | XmlValue[];
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
