/**
 * How many may wait at the door. A connection waits until its request is in; when there are too many, the one of that address
 * (or of all) that has waited longest goes. So whoever opens a thousand and says nothing loses those, and a client that
 * comes from the same address with a request, which needs milliseconds, is served (half-open connections starve nobody).
 */
import type { Socket } from 'node:net';

export interface GuestLimits {
  /** Connections in all, waiting or being served. */
  readonly connections: number;
  /** Waiting ones of one address (of one /64 for IPv6). */
  readonly perAddress: number;
}

export class Guests {
  readonly #all = new Set<Socket>();
  readonly #waiting = new Set<Socket>();
  readonly #byAddress = new Map<string, Set<Socket>>();

  constructor(private readonly limits: GuestLimits) {}

  get size(): number {
    return this.#all.size;
  }

  /** Lets a connection in, at the cost of one that waits if need be. @returns false if all are being served: close it */
  admit(socket: Socket): boolean {
    const address = addressOf(socket);
    const same = this.#byAddress.get(address) ?? new Set<Socket>();
    if (same.size >= this.limits.perAddress) oldest(same)?.destroy();
    if (this.#all.size >= this.limits.connections) {
      const out = oldest(this.#waiting);
      if (!out) return false;
      this.#forget(out);
      out.destroy();
    }
    this.#byAddress.set(address, same.add(socket));
    this.#all.add(socket);
    this.#waiting.add(socket);
    socket.once('close', () => this.#forget(socket));
    return true;
  }

  /** Its request is in: it is served to the end. */
  settle(socket: Socket): void {
    this.#waiting.delete(socket);
    this.#leaveAddress(socket);
  }

  /** Those that wait; then, at the end of a grace, the rest. */
  cut(which: 'waiting' | 'all'): void {
    for (const socket of [...(which === 'all' ? this.#all : this.#waiting)]) socket.destroy();
  }

  #forget(socket: Socket): void {
    this.#all.delete(socket);
    this.settle(socket);
  }

  #leaveAddress(socket: Socket): void {
    const address = addresses.get(socket) ?? '';
    const same = this.#byAddress.get(address);
    same?.delete(socket);
    if (same?.size === 0) this.#byAddress.delete(address);
  }
}

/** A closed socket no longer knows its address. */
const addresses = new WeakMap<Socket, string>();

function addressOf(socket: Socket): string {
  const address = (socket.remoteAddress ?? '').replace(/^::ffff:/, '');
  const key = address.includes(':') ? address.split(':').slice(0, 4).join(':') : address;
  addresses.set(socket, key);
  return key;
}

function oldest(sockets: ReadonlySet<Socket>): Socket | undefined {
  return sockets.values().next().value;
}
