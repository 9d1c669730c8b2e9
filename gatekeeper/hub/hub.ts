/**
 * A running hub: the overlay's centre for one cluster. It is started or adopted, watched, restarted when openvpn dies,
 * asked who has joined, told whom to refuse, and used as the way to the nodes.
 */
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Duplex } from 'node:stream';
import { GridError } from '../../src/domain/error.js';
import type { Log } from '../../src/log.js';
import { hubAddress } from '../../src/overlay/addresses.js';
import { openStream, runCommand } from '../../src/proc/command.js';
import { admit, hubFiles, hubPid, killHub, logTail, refuse, spawnHub, writeHubFiles, type HubClient, type HubFiles, type HubSpec } from './daemon.js';
import { openManagement, parseStatus, type ConnectedClient, type Management } from './management.js';
import { addNamespace, adoptDevice, hasDevice, holdsDevice, inNamespace, removeNamespace } from './namespace.js';

export interface Joined {
  readonly name: string;
  /** Unix ms at which it was first seen. */
  readonly at: number;
}

const startSeconds = 10;
const pollMilliseconds = 50;

export class Hub {
  private management: Management | undefined;
  private readonly streams = new Set<Duplex>();
  private ended = false;
  private mending: Promise<void> | undefined;

  private constructor(
    private readonly spec: HubSpec,
    private readonly files: HubFiles,
    private readonly log: Log,
  ) {}

  /**
   * Adopts this cluster's hub if it runs and is whole, else starts it anew; about 50 ms. Repeatable.
   * @param home directory in which hubs/<cluster>/ is made
   */
  static async start(spec: HubSpec, home: string, log: Log): Promise<Hub> {
    const hub = new Hub(spec, hubFiles(home, spec.cluster), log.child({ cluster: spec.cluster }));
    try {
      await hub.raise();
    } catch (error) {
      hub.ended = true;
      await Hub.remove(spec.cluster, home);
      throw error;
    }
    return hub;
  }

  /** Ends whatever is there of a cluster's hub: process, namespace, files. Repeatable, also without a Hub object. */
  static async remove(cluster: string, home: string): Promise<void> {
    const files = hubFiles(home, cluster);
    await killHub(files);
    await removeNamespace(cluster);
    await rm(files.directory, { recursive: true, force: true });
  }

  async stop(home: string): Promise<void> {
    this.detach();
    await this.mending?.catch(() => {});
    for (const stream of this.streams) stream.destroy();
    await Hub.remove(this.spec.cluster, home);
  }

  /** Lets go of it; openvpn runs on for the next gatekeeper. */
  detach(): void {
    this.ended = true;
    this.management?.close();
  }

  async connected(): Promise<readonly ConnectedClient[]> {
    if (this.management === undefined) throw new GridError('unavailable', `the hub of ${this.spec.cluster} is being restarted`);
    return parseStatus(await this.management.command('status 3'));
  }

  /** Yields each of `clients` once, when it has joined at its own address. Ends when all have, or when `signal` says so. */
  async *joined(clients: readonly HubClient[], signal: AbortSignal): AsyncGenerator<Joined> {
    const missing = new Map(clients.map((client) => [client.name, client.address]));
    while (missing.size > 0 && !signal.aborted && !this.ended) {
      for (const client of await this.connected().catch(() => [])) {
        if (missing.get(client.name) !== client.address) continue;
        missing.delete(client.name);
        yield { name: client.name, at: Date.now() };
      }
      await sleep(pollMilliseconds, undefined, { signal }).catch(() => {});
    }
  }

  admit(client: HubClient): Promise<void> {
    return admit(this.files, client, this.spec.block.prefix);
  }

  /** Refuses the certificate from now on and ends the connection that it may have. */
  async revoke(name: string, serial: string): Promise<void> {
    await refuse(this.files, serial);
    await this.management?.command(`kill ${name}`).catch(() => {}); // not connected: nothing to end
  }

  /** A byte stream to a TCP port of an overlay address, from the cluster's namespace. */
  dial(address: string, port = 22): Duplex {
    if (this.ended) throw new GridError('unavailable', `the hub of ${this.spec.cluster} is not running`);
    const stream = openStream([...inNamespace(this.spec.cluster), 'socat', '-', `TCP:${address}:${port},connect-timeout=5,nodelay`]);
    this.streams.add(stream);
    stream.once('close', () => this.streams.delete(stream));
    return stream;
  }

  /** True if the address answers one echo request within a second. */
  async ping(address: string, signal?: AbortSignal): Promise<boolean> {
    const words = [...inNamespace(this.spec.cluster), 'ping', '-n', '-q', '-c', '1', '-W', '1', address];
    return (await runCommand(words, { seconds: 5, ...(signal ? { signal } : {}) })).code === 0;
  }

  private async raise(): Promise<void> {
    const started = Date.now();
    const adopted = await this.adopt();
    if (!adopted) await this.launch();
    this.management = await this.manage();
    void this.management.closed.then(() => this.mend());
    this.log.info({ adopted, port: this.spec.port, milliseconds: Date.now() - started }, 'hub is up');
  }

  private async adopt(): Promise<boolean> {
    if ((await hubPid(this.files)) === undefined) return false;
    return holdsDevice(this.spec.cluster, this.address());
  }

  private async launch(): Promise<void> {
    await killHub(this.files);
    await writeHubFiles(this.spec, this.files);
    await Promise.all([addNamespace(this.spec.cluster), this.spawn()]);
    await adoptDevice(this.spec.cluster, this.address()).catch(async (error: unknown) => {
      throw (await hasDevice(this.spec.cluster)) ? error : await this.refusal('openvpn ended'); // it took its device with it
    });
  }

  private async spawn(): Promise<void> {
    await spawnHub(this.files);
    await this.until(() => hasDevice(this.spec.cluster), 'its tun device did not appear');
  }

  /** Connects to the management socket and waits until the server says that it is open for clients. */
  private async manage(): Promise<Management> {
    let open: Management | undefined;
    await this.until(async () => {
      open ??= await openManagement(this.files.management).catch(() => undefined);
      const state = await open?.command('state').catch(() => undefined);
      if (state === undefined) open = undefined;
      return state?.some((line) => line.includes(',CONNECTED,')) === true;
    }, 'it does not accept clients');
    if (open === undefined) throw new GridError('internal', `the hub of ${this.spec.cluster} lost its management socket`);
    return open;
  }

  private async until(done: () => Promise<boolean>, what: string): Promise<void> {
    const deadline = Date.now() + startSeconds * 1000;
    for (let tries = 0; !(await done()); tries++) {
      const dead = tries > 100 && (await hubPid(this.files)) === undefined;
      if (dead || Date.now() > deadline) throw await this.refusal(what);
      await sleep(5);
    }
  }

  private async refusal(what: string): Promise<GridError> {
    return new GridError('unavailable', `the hub of ${this.spec.cluster} on UDP port ${this.spec.port} did not start: ${what}`, { hint: await logTail(this.files) });
  }

  /** openvpn died: start it again, with growing pauses, until it stands or the hub is stopped. */
  private mend(): void {
    this.management = undefined;
    if (this.ended) return;
    this.log.warn('openvpn of the hub ended; starting it again');
    this.mending = (async () => {
      for (let pause = 100; !this.ended; pause = Math.min(pause * 2, 10_000)) {
        try {
          return await this.raise();
        } catch (error) {
          this.log.error({ err: error }, 'the hub does not start');
          await sleep(pause);
        }
      }
    })();
  }

  private address(): string {
    return `${hubAddress(this.spec.block)}/${this.spec.block.prefix}`;
  }
}
