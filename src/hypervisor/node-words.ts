/** A node's definition as checked words and bytes for a driver's script. Pure. */
import { pack } from 'tar-stream';
import { GridError } from '../domain/error.js';
import { checkName } from '../domain/names.js';
import type { ContextFile, NodeDefinition, NodeId } from '../domain/node.js';

/** "<cluster>-<node>", of checked names only. */
export function nodeWord(id: NodeId): string {
  return `${checkName('cluster', id.cluster)}-${checkName('node', id.node)}`;
}

/** Address with prefix length, and gateway; bad-request if they are not. */
export function checkNetwork(node: NodeDefinition): { address: string; gateway: string } {
  const { address, gateway } = node.network;
  const quad = '(\\d{1,3}\\.){3}\\d{1,3}';
  if (!new RegExp(`^${quad}/\\d{1,2}$`).test(address)) throw new GridError('bad-request', `node ${node.id.node}: ${address} is not an address with prefix length`);
  if (!new RegExp(`^${quad}$`).test(gateway)) throw new GridError('bad-request', `node ${node.id.node}: gateway ${gateway} is not an address`);
  return { address, gateway };
}

/**
 * A node's MAC address follows from its address. An address that is used again so has the same one: the site's
 * router need not first find out, in up to eight seconds, that its neighbour table is stale.
 */
export function macOf(address: string): string {
  const bytes = address.split('/', 1)[0]?.split('.').map((part) => Number(part).toString(16).padStart(2, '0')) ?? [];
  return ['02', '67', ...bytes].join(':');
}

/** Paths are made relative: the archive is unpacked inside the node's root. */
export async function contextTar(files: readonly ContextFile[]): Promise<Buffer> {
  const archive = pack();
  const chunks: Buffer[] = [];
  const read = (async () => {
    for await (const chunk of archive) chunks.push(chunk as Buffer);
  })();
  const mtime = new Date();
  for (const file of files) {
    const directory = file.path.endsWith('/');
    const name = checkName('path', directory ? file.path.slice(0, -1) : file.path).slice(1);
    const header = { name, mode: file.mode & 0o7777, uid: file.uid, gid: file.gid, mtime };
    if (directory) archive.entry({ ...header, type: 'directory' });
    else archive.entry({ ...header, type: 'file' }, Buffer.from(file.content));
  }
  archive.finalize();
  await read;
  return Buffer.concat(chunks);
}
