/** The register of compute hosts, for the head's administrator: a host comes, is looked at, drained and goes while the head runs. */
import type { HostRegistration, HostState, HostView } from '../domain/admin-views.js';
import { GridError } from '../domain/error.js';
import { isName } from '../domain/names.js';
import type { HostAdmin } from '../ports.js';
import type { Database } from '../store/database.js';
import { parseHost, type HostConfig } from './config.js';
import type { Hosts } from './hosts.js';

type Row = Omit<HostView, 'address' | 'registered' | 'usable' | 'checked' | 'state'> & { state: HostState | 'closed'; checked: Date };

export class HostRegister implements HostAdmin {
  constructor(
    private readonly hosts: Hosts,
    private readonly db: Database,
  ) {}

  async list(): Promise<readonly HostView[]> {
    return this.views(this.hosts.all.map(({ name }) => name));
  }

  async add(registration: HostRegistration): Promise<HostView> {
    const settings = settingsOf(registration);
    const { name } = settings;
    if (this.hosts.has(name) && this.hosts.entry(name).fixed) throw new GridError('conflict', `host ${name} is in the head's configuration file`, { hint: 'change it there, or register under another name' });
    await this.refuseIfMoved(settings);
    await this.db.rows('registerHost', name, settings.kind, JSON.stringify(settings));
    this.hosts.learn(settings);
    return this.check(name);
  }

  async setState(name: string, state: HostState): Promise<HostView> {
    this.known(name);
    await this.db.rows('setHostState', name, state);
    return this.view(name);
  }

  async remove(name: string): Promise<void> {
    if (this.known(name).fixed) throw new GridError('wrong-state', `host ${name} is in the head's configuration file`, { hint: 'take it out there and restart the head; gridvc host drain keeps new nodes away at once' });
    await this.db.transaction(async (tx) => {
      await tx.rows('lockHosts');
      const living = await tx.rows<{ cluster: string; nodes: number }>('nodesOnHost', name);
      if (living.length > 0) throw new GridError('wrong-state', `host ${name} still has nodes of ${living.map(({ cluster, nodes }) => `${cluster} (${nodes})`).join(', ')}`, { hint: `gridvc host drain ${name}, and wait until their leases end or destroy them` });
      await tx.rows('forgetHost', name);
    });
    await this.hosts.forget(name);
  }

  async check(name: string): Promise<HostView> {
    this.known(name);
    await this.hosts.checkOne(this.hosts.get(name));
    return this.view(name);
  }

  /** Where a host with nodes is must not change under them. */
  private async refuseIfMoved(settings: HostConfig): Promise<void> {
    if (!this.hosts.has(settings.name)) return;
    const { settings: before } = this.hosts.entry(settings.name);
    const place = ({ kind, home, network, transport }: HostConfig): string => JSON.stringify([kind, home, network.bridge, network.subnet, network.gateway, transport.kind === 'ssh' ? transport.address : '']);
    if (place(before) === place(settings)) return;
    const living = await this.db.rows<{ cluster: string }>('nodesOnHost', settings.name);
    if (living.length > 0) throw new GridError('wrong-state', `host ${settings.name} has nodes of ${living.map(({ cluster }) => cluster).join(', ')}: its address, kind, home and network stay until they are gone`, { hint: `gridvc host drain ${settings.name}` });
  }

  private known(name: string): ReturnType<Hosts['entry']> {
    if (this.hosts.has(name)) return this.hosts.entry(name);
    throw new GridError('not-found', `this head has no host ${JSON.stringify(name.slice(0, 80))}`, { hint: `it has: ${this.hosts.all.map((host) => host.name).join(', ') || 'none'}` });
  }

  private async view(name: string): Promise<HostView> {
    const [view] = await this.views([name]);
    if (view === undefined) throw new GridError('not-found', `host ${name} was never looked at`, { hint: `gridvc host check ${name}` });
    return view;
  }

  private async views(names: readonly string[]): Promise<readonly HostView[]> {
    const rows = await this.db.rows<Row>('hostViews', names);
    return rows.map((row) => {
      const { settings, fixed } = this.hosts.entry(row.name);
      const state = row.state === 'open' ? 'open' : 'draining';
      return { ...row, state, address: settings.transport.kind === 'ssh' ? settings.transport.address : '', registered: !fixed, usable: state === 'open' && row.problems.length === 0, checked: row.checked.toISOString() };
    });
  }
}

function settingsOf({ name, kind, address, port, user, key, hostKey, home, bridge, subnet, gateway, first, last, memory, disk, type }: HostRegistration): HostConfig {
  if (!isName('path', home)) throw new GridError('bad-request', `home ${JSON.stringify(home.slice(0, 80))} is not an absolute path`);
  return parseHost({
    name, kind, home,
    transport: { kind: 'ssh', address, port, user, key, hostKey },
    network: { bridge, subnet, gateway, first, last },
    ...(memory === undefined ? {} : { memory }), ...(disk === undefined ? {} : { disk }), ...(type === undefined ? {} : { type }),
  });
}
