/**
 * Delegated proxies: the key is made here and never leaves, the caller signs the request. What the gatekeeper does with
 * one is know how long it may act for its owner: overlay certificates and leases end no later. One per owner; the newest
 * replaces, and lengthens leases that the one before cut short (Clusters.followDelegations). It is dropped when it ends,
 * and when the owner's last cluster is gone. Files: <home>/delegations/<id>.key and .pem, 0600.
 */
import { createPublicKey, randomBytes, type KeyObject } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GridError } from '../src/domain/error.js';
import type { Caller } from '../src/domain/views.js';
import type { DelegationService } from '../src/ports.js';
import { makeKey, makeRequest } from '../src/pki/issue.js';
import type { Database } from '../src/store/database.js';
import type { Authorizer } from './authorization/authorizer.js';

/** Validates a PEM chain (new proxy first) and says whose it is; throws not-authenticated with the reason. */
export type ReadChain = (chain: string) => Promise<{ subject: string; notAfter: Date; publicKey: KeyObject; limited?: boolean }>;

export interface DelegationSettings {
  readonly authorizer?: Pick<Authorizer, 'check'>;
  /** Seconds that a delegated proxy must last; default 300. */
  readonly leastSeconds?: number;
  /** Called when one was put: a lease may now be longer. */
  readonly renewed?: () => Promise<void>;
}

const usualLeast = 300;
/** A file without a row is younger than this only while its request is being made. */
const strayMilliseconds = 60_000;

export class Delegations implements DelegationService {
  private constructor(
    private readonly db: Database,
    private readonly directory: string,
    private readonly readChain: ReadChain,
    private readonly settings: DelegationSettings,
  ) {}

  /** @param home the gatekeeper's state directory */
  static async open(db: Database, home: string, readChain: ReadChain, settings: DelegationSettings = {}): Promise<Delegations> {
    const directory = join(home, 'delegations');
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return new Delegations(db, directory, readChain, settings);
  }

  async requestDelegation(caller: Caller): Promise<{ id: string; request: string }> {
    this.settings.authorizer?.check(caller, 'requestDelegation');
    if (caller.limited) throw new GridError('not-authorized', 'a limited proxy cannot delegate', { hint: 'make a full proxy: gridvc proxy init' });
    const id = randomBytes(16).toString('hex');
    const { key } = await makeKey('ec');
    await writeFile(this.path(id, 'key'), key, { mode: 0o600, flag: 'wx' });
    await this.db.rows('insertDelegation', id, caller.subject);
    return { id, request: await makeRequest(key) };
  }

  async putDelegation(caller: Caller, id: string, chain: string): Promise<{ notAfter: string }> {
    this.settings.authorizer?.check(caller, 'putDelegation');
    const row = /^[0-9a-f]{32}$/.test(id) ? await this.db.row<{ owner: string }>('delegation', id) : undefined;
    if (row?.owner !== caller.subject) throw new GridError('not-found', 'there is no delegation with this id', { hint: 'call requestDelegation first; a request is kept for an hour' });
    const read = await this.readChain(chain);
    if (read.subject !== caller.subject) throw new GridError('not-authorized', `the delegated proxy is of ${read.subject}, not of ${caller.subject}`);
    if (read.limited === true) throw new GridError('not-authorized', 'the delegated proxy is limited: it may not start jobs', { hint: 'sign the request with a full proxy, and not as a limited one' });
    const own = createPublicKey(await readFile(this.path(id, 'key'), 'utf8'));
    if (!own.equals(read.publicKey)) throw new GridError('bad-request', 'the delegated proxy is not for the key of this request', { hint: 'sign the request that requestDelegation returned' });
    this.checkLife(read.notAfter);
    await writeWhole(this.path(id, 'pem'), chain);
    await this.db.rows('putDelegation', id, caller.subject, read.notAfter);
    await this.removeFiles(await this.db.rows<{ id: string }>('oldDelegations', caller.subject, id));
    await this.settings.renewed?.();
    return { notAfter: read.notAfter.toISOString() };
  }

  /** Until when we may act for the caller: the later end of the proxy they came with and of the one they delegated. */
  async until(caller: Caller): Promise<Date> {
    const row = await this.db.row<{ notAfter: Date | null }>('delegatedUntil', caller.subject);
    return new Date(Math.max(caller.notAfter, row?.notAfter?.getTime() ?? 0));
  }

  /** Drops what has ended or no cluster needs any more, and files that a crash left; call it now and then. */
  async sweep(): Promise<void> {
    await this.removeFiles(await this.db.rows<{ id: string }>('uselessDelegations'));
    const files = await readdir(this.directory); // before the rows: a request that is being made has its file first
    const known = new Set((await this.db.rows<{ id: string }>('delegations')).map(({ id }) => id));
    for (const file of files.filter((name) => !known.has(name.slice(0, 32)))) {
      const path = join(this.directory, file);
      const age = Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? 0);
      if (age > strayMilliseconds) await rm(path, { force: true });
    }
  }

  private checkLife(notAfter: Date): void {
    const least = this.settings.leastSeconds ?? usualLeast;
    const left = Math.floor((notAfter.getTime() - Date.now()) / 1000);
    if (left < least) throw new GridError('bad-request', `the delegated proxy ends in ${Math.max(0, left)} s (${notAfter.toISOString()}); it must last at least ${least} s`, { hint: 'delegate a longer one: gridvc proxy delegate --hours N' });
  }

  private async removeFiles(rows: readonly { id: string }[]): Promise<void> {
    await Promise.all(rows.flatMap(({ id }) => [rm(this.path(id, 'key'), { force: true }), rm(this.path(id, 'pem'), { force: true })]));
  }

  private path(id: string, kind: 'key' | 'pem'): string {
    return join(this.directory, `${id}.${kind}`);
  }
}

/** Mode 0600, whole or not at all. */
async function writeWhole(path: string, text: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}
