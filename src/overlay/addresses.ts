/**
 * IPv4 arithmetic of the overlay, pure. A grid has one pool (10.128.0.0/10); each cluster gets a block of it (a /20):
 *
 *   first address       the hub
 *   first + 9 ...       nodes: n1 is .10, upwards
 *   last usable ...     VPN profiles of users, downwards
 *
 * so a node's address follows from the block and the node's number, and no list has to be kept.
 */
import { GridError } from '../domain/error.js';
import { formatAddress, parseAddress } from '../domain/ipv4.js';

export interface Pool {
  /** First address as an unsigned number. */
  readonly base: number;
  /** Bits of the whole pool, e.g. 10. */
  readonly bits: number;
  /** Bits of one cluster's block, e.g. 20. */
  readonly prefix: number;
}

export interface Block {
  readonly base: number;
  readonly prefix: number;
}

/** Numbers of profiles (laptops) a block keeps room for. */
export const profileRoom = 256;
const firstNode = 10;

/** @param text "10.128.0.0/10"; the base must be the network's own address, the block between /16 and /28 and inside the pool. */
export function parsePool(text: string, prefix: number): Pool {
  const [address = '', bitsText = ''] = text.split('/');
  const bits = Number(bitsText);
  const base = parseAddress(address);
  if (base === undefined || !/^\d{1,2}$/.test(bitsText) || bits < 1 || bits > 28 || base % size(bits) !== 0) {
    throw new GridError('bad-request', `overlay pool ${JSON.stringify(text)} is not a network such as 10.128.0.0/10`);
  }
  if (!Number.isInteger(prefix) || prefix < bits || prefix < 16 || prefix > 22) {
    throw new GridError('bad-request', `overlay prefix ${prefix} does not fit pool ${text}`, { hint: 'it must be from 16 to 22 and not shorter than the pool; 20 is usual' });
  }
  return { base, bits, prefix };
}

/** How many clusters the pool can hold at one time. */
export function blockCount(pool: Pool): number {
  return 2 ** (pool.prefix - pool.bits);
}

/** @param index 0 .. blockCount - 1 */
export function blockOf(pool: Pool, index: number): Block {
  if (!Number.isInteger(index) || index < 0 || index >= blockCount(pool)) throw new RangeError(`no block ${index} in the pool`);
  return { base: pool.base + index * size(pool.prefix), prefix: pool.prefix };
}

export function hubAddress(block: Block): string {
  return formatAddress(block.base + 1);
}

/** How many nodes a block can number. */
export function nodeRoom(prefix: number): number {
  return size(prefix) - firstNode - profileRoom - 1;
}

/** @param number 1 for n1 */
export function nodeAddress(block: Block, number: number): string {
  if (number < 1 || number > nodeRoom(block.prefix)) throw new RangeError(`no address for node ${number} in a /${block.prefix}`);
  return formatAddress(block.base + firstNode - 1 + number);
}

/** @param number 1 for the first profile; it gets the last usable address */
export function profileAddress(block: Block, number: number): string {
  if (number < 1 || number > profileRoom) throw new RangeError(`no address for profile ${number}`);
  return formatAddress(block.base + size(block.prefix) - 1 - number);
}

/** 20 -> "255.255.240.0" */
export function netmask(prefix: number): string {
  return formatAddress(2 ** 32 - size(prefix));
}

function size(prefix: number): number {
  return 2 ** (32 - prefix);
}
