/**
 * The site's compute hosts: those of the configuration file and those that an administrator registered (host-admin.ts), what
 * they can take, and the driver and transport to each.
 */
import { assignHosts, freeAddresses, type NodeSize } from '../domain/capacity.js';
import { AnswerUnknown, GridError } from '../domain/error.js';
import type { HostCapacity } from '../domain/views.js';
import type { HypervisorDriver, NodeTransport } from '../ports.js';
import type { Log } from '../log.js';
import type { Database } from '../store/database.js';
import { parseHost, type HostConfig } from './config.js';
import { withDeadline } from './deadline.js';
import type { PlacedNode } from './parts.js';

/** One compute host, wired in main.ts from its settings. */
export interface ComputeHost {
  readonly name: string;
  /** Its directory for layers and nodes. */
  readonly home: string;
  readonly transport: NodeTransport;
  readonly driver: HypervisorDriver & { console?(id: { cluster: string; node: string }): Promise<string> };
  readonly network: { readonly subnet: string; readonly gateway: string; readonly first: string; readonly last: string };
  /** Override what the host has, MiB. */
  readonly memory?: number;
  readonly disk?: number;
}

export interface HostsOptions {
  /** The configuration file's. */
  readonly fixed: readonly HostConfig[];
  readonly make: (settings: HostConfig) => ComputeHost;
  readonly db: Database;
  readonly log: Log;
}

interface Known {
  readonly settings: HostConfig;
  readonly fixed: boolean;
  readonly host: ComputeHost;
}

const checkSeconds = 120;

export class Hosts {
  private readonly known = new Map<string, Known>();

  private constructor(private readonly options: HostsOptions) {
    for (const settings of options.fixed) this.known.set(settings.name, { settings, fixed: true, host: options.make(settings) });
  }

  /** With the registered hosts; one whose name the file has, too, is the file's. */
  static async open(options: HostsOptions): Promise<Hosts> {
    const hosts = new Hosts(options);
    for (const { name, settings } of await options.db.rows<{ name: string; settings: unknown }>('registeredHosts')) {
      if (hosts.known.has(name)) options.log.warn({ host: name }, 'this host is registered and in the configuration file: the file counts');
      else hosts.learn(parseHost(settings));
    }
    return hosts;
  }

  get all(): readonly ComputeHost[] {
    return [...this.known.values()].map(({ host }) => host);
  }

  get(name: string): ComputeHost {
    return this.entry(name).host;
  }

  /** Its settings, and whether the configuration file has them. @throws unavailable */
  entry(name: string): Known {
    const known = this.known.get(name);
    if (known === undefined) throw new GridError('unavailable', `host ${name} is no longer one of this head's`, { hint: 'add it again, or destroy the clusters that have nodes there' });
    return known;
  }

  has(name: string): boolean {
    return this.known.has(name);
  }

  /** Takes a registered host into use, in place of one that had its name. */
  learn(settings: HostConfig): void {
    const before = this.known.get(settings.name);
    this.known.set(settings.name, { settings, fixed: false, host: this.options.make(settings) });
    void before?.host.transport.close();
  }

  /** Forgets a registered host. */
  async forget(name: string): Promise<void> {
    const known = this.known.get(name);
    this.known.delete(name);
    await known?.host.transport.close();
  }

  /** Looks at every host and stores what it has and lacks; a host that cannot be reached gets no nodes. */
  async check(): Promise<void> {
    await Promise.all(this.all.map((host) => this.checkOne(host)));
  }

  async checkOne(host: ComputeHost): Promise<void> {
    const { db, log } = this.options;
    const kind = host.driver.kind;
    try {
      const look = (): ReturnType<HypervisorDriver['check']> => inTime(host.driver.check(), `host ${host.name} did not answer within ${checkSeconds} s`);
      const found = await look().catch((error: unknown) => {
        if (error instanceof AnswerUnknown) return look(); // a lost connection says nothing of the host
        throw error;
      });
      if (found.problems.length > 0) log.warn({ host: host.name, problems: found.problems }, 'host is not usable');
      await db.rows('putHost', host.name, kind, host.memory ?? found.memory, host.disk ?? found.disk, found.vcpus, found.problems, found.about ?? '');
    } catch (error) {
      log.warn({ host: host.name, err: error }, 'host cannot be checked');
      await db.rows('putHost', host.name, kind, 0, 0, 0, [(error as Error).message], '');
    }
  }

  capacities(db: Database = this.options.db): Promise<readonly HostCapacity[]> {
    return db.rows<HostCapacity>('hostCapacities', [...this.known.keys()]);
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

async function inTime<T>(work: Promise<T>, late: string): Promise<T> {
  work.catch(() => {}); // it may fail after we have given up on it
  return withDeadline(checkSeconds, new AbortController().signal, (signal) =>
    Promise.race([work, new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(new GridError('timeout', late)), { once: true }))]),
  );
}
