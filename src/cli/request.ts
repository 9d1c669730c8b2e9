/** A request from the command line: an RSL text as it is (plus your ssh key), or elements from options. */
import { readFileSync, statSync } from 'node:fs';
import { GridError } from '../domain/error.js';
import { isName } from '../domain/names.js';
import type { AskedCluster, AskedElements, ClusterClient } from '../soap/client.js';
import type { RequestOptions } from './commands/cluster.js';

/** Larger files travel by HTTPS PUT before the request. */
const inlineBytes = 64 * 1024;

const elements = ['count', 'minCount', 'memory', 'disk', 'vcpus', 'os', 'package', 'bundle', 'file', 'lifetime', 'site', 'placement', 'onFailure', 'exact'] as const;

/**
 * @param file RSL file, "-" for standard input, or undefined
 * @param keys OpenSSH public lines that may log in
 * @throws bad-request if RSL and options are mixed: one of them would silently lose
 */
export async function readRequest(file: string | undefined, options: RequestOptions, keys: readonly string[], client: ClusterClient): Promise<AskedCluster> {
  const given = elements.filter((name) => options[name] !== undefined);
  if (file !== undefined || options.rsl !== undefined) {
    if (file !== undefined && options.rsl !== undefined) throw new GridError('bad-request', 'a file and --rsl are both given', { hint: 'give one request' });
    if (given.length > 0) throw new GridError('bad-request', `the request is RSL, and --${given.map(dashed).join(', --')} came besides`, { hint: 'write it into the RSL, or use options only' });
    return { rsl: withKeys(options.rsl ?? readText(file as string), keys) };
  }
  return elementsOf(options, keys, client);
}

/** RSL with our keys as one more relation, unless it has some itself. */
export function withKeys(rsl: string, keys: readonly string[]): string {
  if (keys.length === 0 || /\(\s*ssh_?keys?\s*=/i.test(rsl)) return rsl;
  return `${rsl.trimEnd()}(ssh_key=${keys.map((key) => `"${key.replaceAll('"', '""')}"`).join(' ')})\n`;
}

async function elementsOf(options: RequestOptions, keys: readonly string[], client: ClusterClient): Promise<AskedElements> {
  const { file, rsl: _rsl, sshKey: _sshKey, ...rest } = options;
  const plain = Object.fromEntries(elements.filter((name) => name !== 'file' && rest[name as keyof typeof rest] !== undefined).map((name) => [name, rest[name as keyof typeof rest]])) as AskedElements;
  const files = [];
  for (const spec of file ?? []) files.push(await readFileOption(spec, client));
  return { ...plain, ...(files.length > 0 ? { file: files } : {}), sshKey: keys };
}

/** "LOCAL:/path/in/node" or "u-...:/path/in/node". */
async function readFileOption(spec: string, client: ClusterClient): Promise<{ path: string; mode?: string; content?: string; upload?: string }> {
  const colon = spec.indexOf(':/');
  const [source, path] = [spec.slice(0, colon), spec.slice(colon + 1)];
  if (colon < 1) throw new GridError('bad-request', `--file ${spec} is not LOCAL:/path/in/node`, { hint: 'like --file data.txt:/home/grid/data.txt' });
  if (isName('upload', source)) return { path, upload: source };
  const stat = statSync(source, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isFile()) throw new GridError('not-found', `${source} is not a file here`, { hint: 'only single files can be sent; pack a directory with tar' });
  const mode = (stat.mode & 0o111) !== 0 ? '0755' : '0644';
  const content = readFileSync(source);
  if (content.length <= inlineBytes) return { path, mode, content: content.toString('base64') };
  return { path, mode, upload: (await client.putFile(content)).id };
}

function readText(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new GridError('not-found', `the request ${file} cannot be read: ${(error as Error).message}`);
  }
}

function dashed(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
