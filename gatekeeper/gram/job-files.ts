/** Where a job's files come from and go to, as its RSL says: the client's GASS server, the node itself, or the gatekeeper's keeping. Pure. */
import type { PlainValue } from '../../src/rsl/substitute.js';
import { JobError } from './job-error.js';

export type Source = { readonly kind: 'gass'; readonly url: string } | { readonly kind: 'node'; readonly path: string };

export type Destination =
  /** Shown by the client as it comes. */
  | { readonly kind: 'stream'; readonly url: string }
  /** A file at the client, whole, when the job has ended. */
  | { readonly kind: 'file'; readonly url: string }
  | { readonly kind: 'node'; readonly path: string }
  /** x-gass-cache (globus-job-submit): kept by the gatekeeper for globus-job-get-output. */
  | { readonly kind: 'kept' };

/** Between the client and the node, either way. */
export interface FilePair {
  readonly url: string;
  readonly path: string;
}

/** An https URL of a GASS server, or a path on the node (file: URLs too). */
export function sourceOf(text: string, name: string, code: number): Source {
  if (text === '') throw new JobError(code, `${name} is empty`);
  const scheme = schemeOf(text);
  if (scheme === undefined) return { kind: 'node', path: text };
  if (scheme === 'file') return { kind: 'node', path: filePath(text, name, code) };
  if (scheme === 'https') return { kind: 'gass', url: text };
  throw new JobError(code, `${name} is a ${scheme} URL; taken are https URLs of a GASS server (globusrun -s) and paths on the node`);
}

/** Values of stdout or stderr: one destination with an optional cache tag, or a list of them. */
export function destinationsOf(values: readonly PlainValue[], name: string, code: number): Destination[] {
  if (values.length === 0) return [];
  const lists = values.every((value) => typeof value !== 'string') ? (values as readonly (readonly PlainValue[])[]) : [values];
  return lists.flatMap((list) => {
    const [text, ...tag] = list;
    if (typeof text !== 'string' || text === '' || tag.length > 1) throw new JobError(code, `${name} takes a URL, a path, or a list of them in parentheses`);
    return destinationOf(text, name, code);
  });
}

function destinationOf(text: string, name: string, code: number): Destination[] {
  const scheme = schemeOf(text);
  if (text === '/dev/null') return [];
  if (scheme === undefined) return [{ kind: 'node', path: text }];
  if (scheme === 'file') return [{ kind: 'node', path: filePath(text, name, code) }];
  if (scheme === 'x-gass-cache') return [{ kind: 'kept' }];
  if (scheme !== 'https') throw new JobError(code, `${name} goes to a ${scheme} URL; possible are https URLs of a GASS server, x-gass-cache, and paths on the node`);
  return [{ kind: /^https:\/\/[^/]+\/dev\/std(out|err)$/.test(text) ? 'stream' : 'file', url: text }];
}

/** (URL path) or (path URL): either order. */
export function pairsOf(values: readonly PlainValue[], code: number): FilePair[] {
  return values.map((value) => {
    const [one, two, ...more] = typeof value === 'string' ? [] : value;
    if (typeof one !== 'string' || typeof two !== 'string' || more.length > 0) throw new JobError(code, 'files to stage are pairs: (https://... /path)');
    const [url, path] = schemeOf(one) === 'https' ? [one, two] : [two, one];
    if (schemeOf(url) !== 'https' || path === '') throw new JobError(code, `of the pair ${JSON.stringify(`${one} ${two}`.slice(0, 80))}, one must be an https URL of a GASS server and one a path on the node`);
    return { url, path: schemeOf(path) === 'file' ? filePath(path, 'path', code) : path };
  });
}

function schemeOf(text: string): string | undefined {
  return /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase() ?? /^(file):/i.exec(text)?.[1]?.toLowerCase();
}

function filePath(url: string, name: string, code: number): string {
  const path = /^file:(?:\/\/(?:localhost)?)?(\/.*)$/i.exec(url)?.[1];
  if (path === undefined) throw new JobError(code, `${name} is a file URL of another machine; write file:///path`);
  return path;
}
