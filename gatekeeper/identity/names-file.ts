/** Lookup of Globus DNs, and a small file that is read again when it changes. */
import { readFileSync, statSync } from 'node:fs';
import { GridError } from '../../src/domain/error.js';
import type { Log } from '../../src/log.js';
import { comparableDn } from '../../src/pki/dn.js';

/**
 * The forms under which a certificate's DN may stand in a file: its own, and for service names
 * (`/CN=host\/foo.example.org`) the one that tools before OpenSSL 3 wrote (`/CN=host/foo.example.org`).
 */
export function lookupForms(dn: string): string[] {
  const old = dn.replace(/(\/CN=[A-Za-z0-9_-]+)\\\/([A-Za-z0-9.-]+)(?=\/|$)/gi, '$1/$2');
  return [...new Set([comparableDn(dn), comparableDn(old)])];
}

const checkEvery = 1_000;
const largest = 16 * 1024 * 1024;

/** A parsed file. It is looked at when asked for, at most once a second, and parsed only if it changed. */
export class WatchedFile<T> {
  readonly path: string;
  readonly #parse: (text: string) => T;
  readonly #log: Log;
  #checked = -Infinity;
  #stamp = '';
  #value: { readonly ok: T } | { readonly failed: string } = { failed: 'not read yet' };

  constructor(path: string, parse: (text: string) => T, log: Log) {
    this.path = path;
    this.#parse = parse;
    this.#log = log;
  }

  /** The content, or `unavailable` naming the file if it cannot be read or parsed: whoever needs it must refuse. */
  current(): T {
    if (Math.abs(Date.now() - this.#checked) >= checkEvery) this.#check();
    if ('ok' in this.#value) return this.#value.ok;
    throw new GridError('unavailable', `the file ${this.path} of this gatekeeper cannot be used: ${this.#value.failed}`, { hint: 'tell the administrator of this grid' });
  }

  #check(): void {
    this.#checked = Date.now();
    try {
      const stat = statSync(this.path, { bigint: true });
      const stamp = `${stat.ino} ${stat.size} ${stat.mtimeNs}`;
      if (stamp === this.#stamp) return;
      this.#stamp = stamp;
      if (stat.size > largest) throw new Error(`larger than ${largest} bytes`);
      this.#value = { ok: this.#parse(readFileSync(this.path, 'utf8')) };
    } catch (error) {
      const failed = error instanceof Error ? error.message : String(error);
      const again = 'failed' in this.#value && this.#value.failed === failed;
      if (!again) this.#log.error({ file: this.path, error: failed }, 'a file of names cannot be used: whoever needs it is refused');
      this.#value = { failed };
      if ((error as NodeJS.ErrnoException).code !== undefined) this.#stamp = '';
    }
  }
}
