/**
 * Delegated proxies: the key is made here and never leaves, the caller signs the request. What the gatekeeper does with
 * one is know how long it may act for its owner: overlay certificates end no later. One per owner; the newest replaces.
 * Files: <home>/delegations/<id>.key and .pem, 0600.
 */
import { createPublicKey, randomBytes, type KeyObject } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GridError } from '../src/domain/error.js';
import type { Caller } from '../src/domain/views.js';
import type { DelegationService } from '../src/ports.js';
import { makeKey, makeRequest } from '../src/pki/issue.js';
import type { Database } from '../src/store/database.js';

/** Validates a PEM chain (new proxy first) and says whose it is; throws not-authenticated with the reason. */
export type ReadChain = (chain: string) => Promise<{ subject: string; notAfter: Date; publicKey: KeyObject }>;

export class Delegations implements DelegationService {
  private constructor(
    private readonly db: Database,
    private readonly directory: string,
    private readonly readChain: ReadChain,
  ) {}

  /** @param home the gatekeeper's state directory */
  static async open(db: Database, home: string, readChain: ReadChain): Promise<Delegations> {
    const directory = join(home, 'delegations');
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return new Delegations(db, directory, readChain);
  }

  async requestDelegation(caller: Caller): Promise<{ id: string; request: string }> {
    if (caller.limited) throw new GridError('not-authorized', 'a limited proxy cannot delegate', { hint: 'make a full proxy: gridvc proxy init' });
    const id = randomBytes(16).toString('hex');
    const { key } = await makeKey('ec');
    await writeFile(this.path(id, 'key'), key, { mode: 0o600, flag: 'wx' });
    await this.db.rows('insertDelegation', id, caller.subject);
    return { id, request: await makeRequest(key) };
  }

  async putDelegation(caller: Caller, id: string, chain: string): Promise<{ notAfter: string }> {
    const row = /^[0-9a-f]{32}$/.test(id) ? await this.db.row<{ owner: string }>('delegation', id) : undefined;
    if (row?.owner !== caller.subject) throw new GridError('not-found', 'there is no delegation with this id', { hint: 'call requestDelegation first; a request is kept for an hour' });
    const read = await this.readChain(chain);
    if (read.subject !== caller.subject) throw new GridError('not-authorized', `the delegated proxy is of ${read.subject}, not of ${caller.subject}`);
    const own = createPublicKey(await readFile(this.path(id, 'key'), 'utf8'));
    if (!own.equals(read.publicKey)) throw new GridError('bad-request', 'the delegated proxy is not for the key of this request', { hint: 'sign the request that requestDelegation returned' });
    const target = this.path(id, 'pem');
    await writeFile(`${target}.new`, chain, { mode: 0o600 });
    await rename(`${target}.new`, target);
    await this.db.rows('putDelegation', id, caller.subject, read.notAfter);
    for (const old of await this.db.rows<{ id: string }>('oldDelegations', caller.subject, id)) {
      await Promise.all([rm(this.path(old.id, 'key'), { force: true }), rm(this.path(old.id, 'pem'), { force: true })]);
    }
    return { notAfter: read.notAfter.toISOString() };
  }

  /** Until when we may act for the caller: the later end of the proxy they came with and of the one they delegated. */
  async until(caller: Caller): Promise<Date> {
    const row = await this.db.row<{ notAfter: Date | null }>('delegatedUntil', caller.subject);
    return new Date(Math.max(caller.notAfter, row?.notAfter?.getTime() ?? 0));
  }

  private path(id: string, kind: 'key' | 'pem'): string {
    return join(this.directory, `${id}.${kind}`);
  }
}
