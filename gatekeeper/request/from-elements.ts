/** XML elements of a request, as the SOAP layer hands them over, to its attributes. What they mean is checked by checkRequest. */
import { GridError } from '../../src/domain/error.js';
import type { RawFile, RawRequest } from '../../src/domain/request.js';

/**
 * @param elements child elements of <request> by name: text, number or an array where one is repeated;
 *   `file` holds objects {path, mode?, content? (base64), upload?}
 * @throws GridError bad-request naming the element that has the wrong form
 */
export function fromElements(elements: Readonly<Record<string, unknown>>): RawRequest {
  const attributes = new Map<string, readonly string[]>();
  const files: RawFile[] = [];
  for (const [name, value] of Object.entries(elements)) {
    if (value === undefined || value === null) continue;
    const values = Array.isArray(value) ? (value as unknown[]) : [value];
    if (name === 'file') files.push(...values.map(fileOf));
    else attributes.set(name, values.map((each) => textOf(name, each)));
  }
  return { attributes, files };
}

function textOf(name: string, value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  throw new GridError('bad-request', `the element <${name.slice(0, 64)}> must hold text only`);
}

const fileParts = ['path', 'mode', 'content', 'upload'] as const;

function fileOf(value: unknown): RawFile {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new GridError('bad-request', 'the element <file> must hold the elements path, mode, content, upload');
  const given = Object.entries(value).filter(([, part]) => part !== undefined && part !== null);
  const unknown = given.find(([name]) => !fileParts.some((part) => part === name));
  if (unknown) throw new GridError('bad-request', `the element <file> holds an unknown element <${unknown[0].slice(0, 64)}>`, { hint: `allowed: ${fileParts.join(', ')}` });
  const parts = new Map(given.map(([name, part]) => [name, textOf(name, part)]));
  const path = parts.get('path');
  if (path === undefined) throw new GridError('bad-request', 'the element <file> has no <path>');
  const optional = Object.fromEntries(['mode', 'content', 'upload'].flatMap((name) => (parts.has(name) ? [[name, parts.get(name) as string]] : [])));
  return { path, ...optional };
}
