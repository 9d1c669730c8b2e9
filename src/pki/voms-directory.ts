/**
 * A vomsdir (X509_VOMS_DIR): VO/HOST.lsc, and certificates of VOMS servers as VO/*.pem or *.pem. A broken
 * file disables what it stands for (one server of one VO), loudly, and nothing else.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../log.js';
import { readCertificate, type Certificate } from './certificate.js';
import { FileCache } from './file-cache.js';
import { certificatesOf } from './pem.js';
import type { Problem } from './trust.js';
import { readLsc, type SignerChain, type VirtualOrganisation, type VomsTrust } from './voms-trust.js';

const voName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/;
const lscName = /^[A-Za-z0-9][A-Za-z0-9.-]{0,254}\.lsc$/;
const certificateName = /\.(pem|crt|cert|0)$/;
const largest = 1024 * 1024;

type VomsFile = { readonly file: string } & ({ readonly kind: 'lsc'; readonly chains: readonly SignerChain[] } | { readonly kind: 'server'; readonly certificate: Certificate } | { readonly kind: 'broken'; readonly message: string });

export class VomsDirectory {
  readonly #directory: string;
  readonly #log: Log;
  readonly #folders = new Map<string, FileCache<VomsFile>>();
  #trust: VomsTrust;
  #problem: string | undefined;

  constructor(directory: string, log: Log) {
    this.#directory = directory;
    this.#log = log;
    this.#trust = { directory, organisations: new Map(), servers: [] };
  }

  /** Looks at the directory now. @returns the same value as before if nothing changed */
  refresh(): VomsTrust {
    const names = this.#list();
    let changed = names.length + 1 !== this.#folders.size;
    for (const name of this.#folders.keys()) if (name !== '' && !names.includes(name)) changed = this.#folders.delete(name);
    for (const name of ['', ...names]) {
      const folder = this.#folders.get(name) ?? this.#open(name);
      this.#folders.set(name, folder);
      if (folder.refresh()) changed = true;
    }
    if (changed) this.#trust = this.#assemble();
    return this.#trust;
  }

  problems(): readonly Problem[] {
    const listed = this.#problem === undefined ? [] : [{ file: this.#directory, message: this.#problem }];
    return [...listed, ...[...this.#folders.values()].flatMap((folder) => [...folder.values()].flatMap((each) => (each.kind === 'broken' ? [{ file: each.file, message: each.message }] : [])))];
  }

  #list(): string[] {
    try {
      const names = readdirSync(this.#directory).filter((name) => voName.test(name) && statSync(join(this.#directory, name), { throwIfNoEntry: false })?.isDirectory());
      this.#problem = undefined;
      return names.sort();
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#problem) this.#log.error({ directory: this.#directory, error: message }, 'the directory of VOMS servers cannot be read: nobody has FQANs');
      this.#problem = message;
      return [];
    }
  }

  #open(vo: string): FileCache<VomsFile> {
    return new FileCache(join(this.#directory, vo), { wanted: (name) => (vo !== '' && lscName.test(name)) || certificateName.test(name), load: (name, file, bytes) => this.#load(name, file, bytes), largest });
  }

  #load(name: string, file: string, bytes: Buffer | Error): VomsFile {
    try {
      if (bytes instanceof Error) throw bytes;
      const text = bytes.toString('utf8');
      if (lscName.test(name)) return { kind: 'lsc', file, chains: readLsc(text) };
      const [first] = certificatesOf(text);
      if (!first) throw new Error('there is no certificate in it');
      return { kind: 'server', file, certificate: readCertificate(first) };
    } catch (error) {
      const { message } = error as Error;
      this.#log.error({ file, error: message }, 'a file of the directory of VOMS servers is broken: this server of this VO is not believed');
      return { kind: 'broken', file, message };
    }
  }

  #assemble(): VomsTrust {
    const organisations = new Map<string, VirtualOrganisation>();
    for (const [vo, folder] of this.#folders) {
      if (vo === '') continue;
      const files = [...folder.entries()];
      organisations.set(vo, {
        lsc: new Map(files.flatMap(([name, each]) => (each.kind === 'lsc' ? [[name.slice(0, -4).toLowerCase(), each] as const] : []))),
        broken: files.flatMap(([, each]) => (each.kind === 'broken' ? [{ file: each.file, message: each.message }] : [])),
      });
    }
    const servers = [...this.#folders].flatMap(([vo, folder]) => [...folder.values()].flatMap((each) => (each.kind === 'server' ? [{ file: each.file, vo, certificate: each.certificate }] : [])));
    return { directory: this.#directory, organisations, servers };
  }
}
