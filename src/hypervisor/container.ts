/**
 * Node kind `container`: OCI containers by runc, an overlay of shared layers under a private ext4
 * image of the node's disk size, own network namespace on the site's bridge. It works through
 * NodeTransport only; what happens on the host is container-script.ts.
 */
import { GridError } from '../domain/error.js';
import { checkName } from '../domain/names.js';
import type { NodeDefinition, NodeId, NodeStatus } from '../domain/node.js';
import type { ConsoleReader, HostCheck, HypervisorDriver, NodeTransport } from '../ports.js';
import { containerConfig } from './container-config.js';
import { containerScript } from './container-script.js';
import { parseCheck, parseList } from './container-output.js';
import { HostScript } from './host-script.js';
import { checkNetwork, contextTar, macOf, nodeWord } from './node-words.js';

export interface ContainerOptions {
  readonly transport: NodeTransport;
  /** Absolute directory on the host for layers and nodes. */
  readonly home: string;
  readonly network: { readonly bridge: string };
}

const notDefined = 44;

export class ContainerDriver implements HypervisorDriver, ConsoleReader {
  readonly kind = 'container';
  private readonly script: HostScript;

  constructor(private readonly options: ContainerOptions) {
    checkName('path', options.home);
    this.script = new HostScript({ ...options, name: 'container', text: containerScript });
  }

  async check(): Promise<HostCheck> {
    const result = await this.script.call(['check', this.options.network.bridge]);
    this.script.refuseFailure('it cannot be checked', result);
    return parseCheck(result.stdout, this.options.network.bridge);
  }

  async list(): Promise<readonly NodeStatus[]> {
    const result = await this.script.call(['list']);
    this.script.refuseFailure('its nodes cannot be listed', result);
    return parseList(result.stdout);
  }

  async define(node: NodeDefinition): Promise<void> {
    const id = nodeWord(node.id);
    return this.script.inOrder(id, async () => {
      const { home, network } = this.options;
      const config = JSON.stringify(containerConfig(node, { id, root: `${home}/nodes/${id}/root`, netns: `gvn-${id}` }));
      const context = await contextTar(node.context);
      const { address, gateway } = checkNetwork(node);
      const layers = node.layers.map((digest) => checkName('digest', digest));
      const words = [id, config, String(Math.trunc(node.disk)), address, gateway, network.bridge, macOf(address), ...layers];
      this.script.refuseFailure(`node ${id} could not be defined`, await this.script.call(['define', ...words], context));
    });
  }

  async start(node: NodeId): Promise<void> {
    const id = nodeWord(node);
    return this.script.inOrder(id, async () => {
      const result = await this.script.call(['start', id]);
      if (result.code === notDefined) throw new GridError('not-found', `node ${id} was never defined on host ${this.options.transport.host}`);
      this.script.refuseFailure(`node ${id} could not be started`, result);
    });
  }

  async stop(node: NodeId, graceSeconds = 2): Promise<void> {
    const id = nodeWord(node);
    return this.script.inOrder(id, async () => this.script.refuseFailure(`node ${id} could not be stopped`, await this.script.call(['stop', id, String(Math.round(graceSeconds * 10))], '', 60 + graceSeconds)));
  }

  async remove(node: NodeId): Promise<void> {
    const id = nodeWord(node);
    return this.script.inOrder(id, async () => this.script.refuseFailure(`node ${id} could not be removed`, await this.script.call(['remove', id])));
  }

  async console(node: NodeId): Promise<string> {
    const result = await this.script.call(['console', nodeWord(node)]);
    return result.code === 0 ? result.stdout : '';
  }
}
