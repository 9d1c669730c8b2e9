/**
 * Node kind `container`: OCI containers by runc, an overlay of shared layers under a private ext4
 * image of the node's disk size, own network namespace on the site's bridge. It works through
 * NodeTransport only; what happens on the host is container-script.ts.
 */
import { createHash } from 'node:crypto';
import { pack } from 'tar-stream';
import { GridError } from '../domain/error.js';
import { checkName } from '../domain/names.js';
import type { ContextFile, NodeDefinition, NodeId, NodeStatus } from '../domain/node.js';
import type { CommandResult, ConsoleReader, HostCheck, HypervisorDriver, NodeTransport } from '../ports.js';
import { containerConfig } from './container-config.js';
import { containerScript } from './container-script.js';
import { parseCheck, parseList } from './container-output.js';

export interface ContainerOptions {
  readonly transport: NodeTransport;
  /** Absolute directory on the host for layers and nodes. */
  readonly home: string;
  readonly network: { readonly bridge: string };
}

const notDefined = 44;
const installScript = 'set -e; mkdir -p "$(dirname "$1")"; cat > "$1.$$"; sync "$1.$$"; mv -f "$1.$$" "$1"';

export class ContainerDriver implements HypervisorDriver, ConsoleReader {
  readonly kind = 'container';
  private readonly scriptPath: string;
  private installed: Promise<void> | undefined;
  /** One call at a time per node. */
  private readonly queues = new Map<string, Promise<unknown>>();

  constructor(private readonly options: ContainerOptions) {
    checkName('path', options.home);
    const digest = createHash('sha256').update(containerScript).digest('hex').slice(0, 16);
    this.scriptPath = `${options.home}/bin/container-${digest}.sh`;
  }

  async check(): Promise<HostCheck> {
    const result = await this.call('check', [this.options.network.bridge]);
    this.refuseFailure('it cannot be checked', result);
    return parseCheck(result.stdout, this.options.network.bridge);
  }

  async list(): Promise<readonly NodeStatus[]> {
    const result = await this.call('list', []);
    this.refuseFailure('its nodes cannot be listed', result);
    return parseList(result.stdout);
  }

  async define(node: NodeDefinition): Promise<void> {
    const id = containerId(node.id);
    return this.inOrder(id, async () => {
      const { home, network } = this.options;
      const config = JSON.stringify(containerConfig(node, { id, root: `${home}/nodes/${id}/root`, netns: `gvn-${id}` }));
      const context = await contextTar(node.context);
      const { address, gateway } = checkNetwork(node);
      const layers = node.layers.map((digest) => checkName('digest', digest));
      const words = [id, config, String(Math.trunc(node.disk)), address, gateway, network.bridge, macOf(address), ...layers];
      this.refuseFailure(`node ${id} could not be defined`, await this.call('define', words, context));
    });
  }

  async start(node: NodeId): Promise<void> {
    const id = containerId(node);
    return this.inOrder(id, async () => {
      const result = await this.call('start', [id]);
      if (result.code === notDefined) throw new GridError('not-found', `node ${id} was never defined on host ${this.options.transport.host}`);
      this.refuseFailure(`node ${id} could not be started`, result);
    });
  }

  async stop(node: NodeId, graceSeconds = 2): Promise<void> {
    const id = containerId(node);
    return this.inOrder(id, async () => this.refuseFailure(`node ${id} could not be stopped`, await this.call('stop', [id, String(Math.round(graceSeconds * 10))], '', 60 + graceSeconds)));
  }

  async remove(node: NodeId): Promise<void> {
    const id = containerId(node);
    return this.inOrder(id, async () => this.refuseFailure(`node ${id} could not be removed`, await this.call('remove', [id])));
  }

  async console(node: NodeId): Promise<string> {
    const result = await this.call('console', [containerId(node)]);
    return result.code === 0 ? result.stdout : '';
  }

  // -------------------------------------------------------------- the host

  private async call(verb: string, words: readonly string[], input: string | Uint8Array = '', seconds = 60): Promise<CommandResult> {
    this.installed ??= this.install();
    await this.installed.catch((error: unknown) => {
      this.installed = undefined;
      throw error;
    });
    const argv = ['sh', this.scriptPath, this.options.home, verb, ...words];
    const result = await this.options.transport.run(argv, { input, seconds });
    if (result.code === 127 || (result.code === 2 && result.stderr.includes(this.scriptPath))) this.installed = undefined; // somebody removed it: sent again next time
    return result;
  }

  private async install(): Promise<void> {
    const present = await this.options.transport.run(['test', '-s', this.scriptPath]);
    if (present.code === 0) return;
    this.refuseFailure('the driver script cannot be written', await this.options.transport.run(['sh', '-c', installScript, 'install', this.scriptPath], { input: containerScript }));
  }

  private refuseFailure(what: string, result: CommandResult): void {
    if (result.code === 0) return;
    const kind = result.stderr.includes('No space left on device') ? 'disk-full' : result.code === undefined ? 'timeout' : 'unavailable';
    throw new GridError(kind, `host ${this.options.transport.host}: ${what}: ${result.reason}`, kind === 'disk-full' ? { hint: `free space below ${this.options.home} on that host` } : {});
  }

  private inOrder<T>(id: string, work: () => Promise<T>): Promise<T> {
    const mine = (this.queues.get(id) ?? Promise.resolve()).then(work, work);
    const settled = mine.catch(() => undefined).then(() => {
      if (this.queues.get(id) === settled) this.queues.delete(id);
    });
    this.queues.set(id, settled);
    return mine;
  }
}

/** "<cluster>-<node>", of checked names only. */
function containerId(id: NodeId): string {
  return `${checkName('cluster', id.cluster)}-${checkName('node', id.node)}`;
}

function checkNetwork(node: NodeDefinition): { address: string; gateway: string } {
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
function macOf(address: string): string {
  const bytes = address.split('/', 1)[0]?.split('.').map((part) => Number(part).toString(16).padStart(2, '0')) ?? [];
  return ['02', '67', ...bytes].join(':');
}

/** Paths are made relative: the archive is unpacked inside the node's root. */
async function contextTar(files: readonly ContextFile[]): Promise<Buffer> {
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
