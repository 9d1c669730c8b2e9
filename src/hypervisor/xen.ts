/**
 * Node kind `xen`: domains by `xl` on a dom0. The layers are shared read-only disks, over them a private sparse
 * ext4 disk; kernel and initial RAM disk come from the node's kernel layer (src/image/kernel.ts, src/node/boot.ts).
 * It works through NodeTransport only; what happens on the dom0 is xen-script.ts.
 */
import { GridError } from '../domain/error.js';
import { checkName } from '../domain/names.js';
import type { NodeDefinition, NodeId, NodeStatus } from '../domain/node.js';
import type { ConsoleReader, HostCheck, HypervisorDriver, NodeTransport } from '../ports.js';
import { HostScript } from './host-script.js';
import { checkNetwork, contextTar, nodeWord } from './node-words.js';
import { domainConfig, type DomainType } from './xen-config.js';
import { createFailure, parseCheck, parseList } from './xen-output.js';
import { blockScript, vifScript, xenScript } from './xen-script.js';

export interface XenOptions {
  readonly transport: NodeTransport;
  /** Absolute directory on the host for layers and nodes. */
  readonly home: string;
  readonly network: { readonly bridge: string };
  /** Tells this head's domains from those of other heads on the same dom0. */
  readonly owner: string;
  /** Default: PV if the hypervisor runs PV domains, else PVH. */
  readonly type?: DomainType;
}

const notDefined = 44;
const createFailed = 4;
const seconds = 180; // a busy dom0 starts domains one after the other

export class XenDriver implements HypervisorDriver, ConsoleReader {
  readonly kind = 'xen';
  readonly bootsKernel = true;
  private readonly script: HostScript;
  private facts: DomainType | undefined;

  constructor(private readonly options: XenOptions) {
    if (!/^(\/[A-Za-z0-9._+-]+)+$/.test(options.home)) throw new GridError('bad-request', `home ${JSON.stringify(options.home)} of host ${options.transport.host}: a path on a dom0 may have letters, digits and ._+- only`);
    if (!/^[a-z][a-z0-9-]{0,47}$/.test(options.owner)) throw new GridError('internal', `${JSON.stringify(options.owner)} cannot be part of a domain's name`);
    this.script = new HostScript({ ...options, name: 'xen', text: xenScript, beside: { vif: vifScript, block: blockScript } });
  }

  async check(): Promise<HostCheck> {
    const { network, owner, type } = this.options;
    const result = await this.call('check', [network.bridge]);
    this.script.refuseFailure('it cannot be checked', result);
    const { type: found, ...check } = parseCheck(result.stdout, { bridge: network.bridge, owner, wanted: type });
    this.facts = found;
    return check;
  }

  async list(): Promise<readonly NodeStatus[]> {
    const result = await this.call('list', []);
    this.script.refuseFailure('its domains cannot be listed', result);
    return parseList(result.stdout, this.options.owner);
  }

  async define(node: NodeDefinition): Promise<void> {
    const id = nodeWord(node.id);
    return this.script.inOrder(id, async () => {
      const { home, network } = this.options;
      checkNetwork(node);
      const config = domainConfig(node, { name: this.domain(id), home, bridge: network.bridge, vifScript: this.script.beside('vif'), type: await this.type() });
      const disks = [node.kernel ?? '', ...node.layers].map((digest) => checkName('digest', digest));
      const context = await contextTar(node.context);
      this.script.refuseFailure(`node ${id} could not be defined`, await this.call('define', [id, String(Math.trunc(node.disk)), ...disks, '--', config], context));
    });
  }

  async start(node: NodeId): Promise<void> {
    const id = nodeWord(node);
    return this.script.inOrder(id, async () => {
      const result = await this.call('start', [id, this.script.beside('block')]);
      const { host } = this.options.transport;
      if (result.code === notDefined) throw new GridError('not-found', `node ${id} was never defined on host ${host}`);
      if (result.code === createFailed) {
        const { memory, text } = createFailure(result.stderr);
        throw new GridError(memory ? 'no-capacity' : 'unavailable', `host ${host}: node ${id} could not be started: ${memory ? 'the host has not enough memory for it: ' : ''}xl create: ${text}`);
      }
      this.script.refuseFailure(`node ${id} could not be started`, result);
    });
  }

  async stop(node: NodeId, graceSeconds = 2): Promise<void> {
    const id = nodeWord(node);
    return this.script.inOrder(id, async () => this.script.refuseFailure(`node ${id} could not be stopped`, await this.call('stop', [id, String(Math.round(graceSeconds * 10))], '', seconds + graceSeconds)));
  }

  async remove(node: NodeId): Promise<void> {
    const id = nodeWord(node);
    return this.script.inOrder(id, async () => this.script.refuseFailure(`node ${id} could not be removed`, await this.call('remove', [id])));
  }

  async console(node: NodeId): Promise<string> {
    const result = await this.call('console', [nodeWord(node)]);
    return result.code === 0 ? result.stdout : '';
  }

  private domain(id: string): string {
    return `gv-${this.options.owner}-${id}`;
  }

  /** The kind of domains here: as set, else what the host can run. */
  private async type(): Promise<DomainType> {
    const known = this.options.type ?? this.facts;
    if (known !== undefined) return known;
    const { problems } = await this.check();
    if (this.facts === undefined) throw new GridError('unavailable', `host ${this.options.transport.host} runs no domains: ${problems.join('; ')}`);
    return this.facts;
  }

  private call(verb: string, words: readonly string[], input: string | Uint8Array = '', within = seconds): Promise<Awaited<ReturnType<HostScript['call']>>> {
    return this.script.call([this.options.owner, verb, ...words], input, within);
  }
}
