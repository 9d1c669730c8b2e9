/** The site's compute hosts: what they can take, and the driver and transport to each. */
import { assignHosts, freeAddresses, type NodeSize } from '../domain/capacity.js';
import { GridError } from '../domain/error.js';
import type { HostCapacity } from '../domain/views.js';
import type { HypervisorDriver, NodeTransport } from '../ports.js';
import type { Log } from '../log.js';
import type { Database } from '../store/database.js';
import type { PlacedNode } from './parts.js';

/** One compute host, wired in main.ts from its configuration. */
export interface ComputeHost {
  readonly name: string;
  readonly transport: NodeTransport;
  readonly driver: HypervisorDriver & { console?(id: { cluster: string; node: string }): Promise<string> };
  readonly network: { readonly subnet: string; readonly gateway: string; readonly first: string; readonly last: string };
  /** Override what the host has, MiB. */
  readonly memory?: number;
  readonly disk?: number;
}

export class Hosts {
  private readonly byName: ReadonlyMap<string, ComputeHost>;

  constructor(
    hosts: readonly ComputeHost[],
    private readonly db: Database,
    private readonly log: Log,
  ) {
    this.byName = new Map(hosts.map((host) => [host.name, host]));
  }

  get all(): readonly ComputeHost[] {
    return [...this.byName.values()];
  }

  get(name: string): ComputeHost {
    const host = this.byName.get(name);
    if (host === undefined) throw new GridError('unavailable', `host ${name} is no longer in this head's configuration`, { hint: 'add it again, or destroy the clusters that have nodes there' });
    return host;
  }

  /** Looks at every host and stores what it has and lacks; a host that cannot be reached gets no nodes. */
  async check(): Promise<void> {
    await Promise.all(
      this.all.map(async (host) => {
        const kind = host.driver.kind;
        try {
          const found = await host.driver.check();
          if (found.problems.length > 0) this.log.warn({ host: host.name, problems: found.problems }, 'host is not usable');
          await this.db.rows('putHost', host.name, kind, host.memory ?? found.memory, host.disk ?? found.disk, found.vcpus, found.problems);
        } catch (error) {
          this.log.warn({ host: host.name, err: error }, 'host cannot be checked');
          await this.db.rows('putHost', host.name, kind, 0, 0, 0, [(error as Error).message]);
        }
      }),
    );
  }

  capacities(db: Database = this.db): Promise<readonly HostCapacity[]> {
    return db.rows<HostCapacity>('hostCapacities', [...this.byName.keys()]);
  }

  /** Inside the placement transaction: a host and a private address for each node. */
  async place(tx: Database, names: readonly string[], size: NodeSize): Promise<readonly PlacedNode[]> {
    const hosts = assignHosts(names.length, size, await this.capacities(tx));
    const used = new Set((await tx.rows<{ address: string }>('addressesInUse')).map((row) => row.address));
    return names.map((name, i) => {
      const host = hosts[i] ?? '';
      const [address = ''] = freeAddresses(1, this.get(host).network, used);
      used.add(address);
      return { name, host, address };
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((host) => host.transport.close()));
  }
}
