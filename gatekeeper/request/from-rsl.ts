/** RSL text to the attributes of a request. What they mean is checked by checkRequest. */
import { canonicalName, type RawFile, type RawRequest } from '../../src/domain/request.js';
import { parseRsl, rslError } from '../../src/rsl/parse.js';
import { substitute, type PlainRelation, type PlainValue } from '../../src/rsl/substitute.js';
import type { RslNode, RslRelation } from '../../src/rsl/tree.js';

const fileForm = 'a file is ("/path" upload ID), ("/path" inline BASE64), with an octal mode after it if it is not 0644';

/** @throws GridError bad-request, with line and column of the text */
export function fromRsl(text: string): RawRequest {
  return requestOf(text, substitute(text, relationsOf(text, parseRsl(text))));
}

/** The same from relations without variables: those of a cluster, when a job's have been taken out. */
export function requestOf(text: string, relations: readonly PlainRelation[]): RawRequest {
  const attributes = new Map<string, readonly string[]>();
  const files: RawFile[] = [];
  const seen = new Set<string>();
  for (const relation of relations) {
    const name = canonicalName(relation.attribute);
    if (relation.operator !== '=') throw rslError(text, relation.at, `${relation.attribute} is compared by ${relation.operator}; a request may only use =`);
    if (seen.has(name)) throw rslError(text, relation.at, `${relation.attribute} is given twice`);
    seen.add(name);
    if (name === 'files' || name === 'file') files.push(...relation.values.map((value) => fileOf(text, relation, value)));
    else attributes.set(relation.attribute, relation.values.flatMap(wordsOf));
  }
  return { attributes, files };
}

/** The relations of a plain `&` request; nested `&` are opened. bad-request for `+` and `|`. */
export function relationsOf(text: string, node: RslNode): RslRelation[] {
  if (node.kind === 'relation') return [node];
  if (node.operator === '+') throw rslError(text, node.at, 'requests of several parts (+) are not supported', 'send one & request for each cluster; one cluster may span sites by itself');
  if (node.operator === '|') throw rslError(text, node.at, 'alternatives (|) are not supported', 'send one & request');
  return node.children.flatMap((child) => relationsOf(text, child));
}

/** All words of a value, sequences opened. */
export function wordsOf(value: PlainValue): string[] {
  return typeof value === 'string' ? [value] : value.flatMap(wordsOf);
}

function fileOf(text: string, relation: PlainRelation, value: PlainValue): RawFile {
  const words = typeof value === 'string' ? [] : value;
  const [path, kind, content, mode, ...more] = words;
  const plain = typeof path === 'string' && typeof content === 'string' && (mode === undefined || typeof mode === 'string') && more.length === 0;
  if (!plain || (kind !== 'upload' && kind !== 'inline')) throw rslError(text, relation.at, 'malformed file', fileForm);
  return { path, ...(kind === 'upload' ? { upload: content } : { content }), ...(mode === undefined ? {} : { mode }) };
}
