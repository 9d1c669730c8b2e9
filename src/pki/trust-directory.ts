/**
 * A Globus trust directory (X509_CERT_DIR): authorities as HASH.N, their HASH.signing_policy, their
 * CRLs HASH.rN. HASH is OpenSSL's name hash, of the new (SHA-1) or the old (MD5) kind. It is looked
 * through again when it is asked for and two seconds have passed; only files that changed are read. A broken file
 * disables the authorities of its hash, loudly, and no other. With it goes a vomsdir, if one is named.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Log } from '../log.js';
import { readCertificate, type Certificate } from './certificate.js';
import { readCrl } from './crl.js';
import { canonicalName } from './dn.js';
import { FileCache } from './file-cache.js';
import { readPem } from './pem.js';
import { readSigningPolicy } from './signing-policy.js';
import { assembleAuthorities, defaultTrustSettings, type Problem, type Trust, type TrustFile, type TrustSettings } from './trust.js';
import { VomsDirectory } from './voms-directory.js';

export { defaultTrustSettings, type Authority, type Problem, type Trust, type TrustSettings } from './trust.js';

export interface TrustOptions extends Partial<TrustSettings> {
  /** Directory of VOMS servers (X509_VOMS_DIR); without it nobody has FQANs. */
  readonly vomsdir?: string | undefined;
}

const fileName = /^([0-9a-f]{8})\.(?:(\d{1,3})|r(\d{1,3})|(signing_policy))$/;
const largest = 64 * 1024 * 1024;
const checkEvery = 2_000;

export class TrustDirectory {
  readonly #directory: string;
  readonly #log: Log;
  readonly #settings: TrustSettings;
  readonly #files: FileCache<TrustFile>;
  readonly #voms: VomsDirectory | undefined;
  #trust: Trust;
  #problems: readonly Problem[] = [];
  #checked = 0;

  private constructor(directory: string, log: Log, { vomsdir, ...settings }: TrustOptions) {
    this.#directory = directory;
    this.#log = log;
    this.#settings = { ...defaultTrustSettings, ...settings };
    this.#files = new FileCache(directory, { wanted: (name) => fileName.test(name), load: (name, file, bytes) => this.#load(name, file, bytes), largest });
    this.#voms = vomsdir === undefined ? undefined : new VomsDirectory(vomsdir, log);
    this.#trust = { directory, authorities: new Map(), settings: this.#settings };
    this.refresh();
  }

  /** Reads the directory; a directory that cannot be read holds no authority (and is logged). */
  static open(directory: string, log: Log, options: TrustOptions = {}): TrustDirectory {
    return new TrustDirectory(directory, log, options);
  }

  /** What is trusted now. Cheap: the directory is looked at no more often than every two seconds. */
  current(): Trust {
    if (Math.abs(Date.now() - this.#checked) >= checkEvery) this.refresh();
    return this.#trust;
  }

  /** Looks at the directory now and reads what changed. */
  refresh(): Trust {
    this.#checked = Date.now();
    const listed = this.#files.problem;
    const files = this.#files.refresh();
    const voms = this.#voms?.refresh();
    if (this.#files.problem !== undefined && this.#files.problem !== listed) this.#log.error({ directory: this.#directory, error: this.#files.problem }, 'the trust directory cannot be read: nobody is trusted');
    if (files) this.#assemble();
    if (files || voms !== this.#trust.voms) this.#trust = { ...this.#trust, ...(voms ? { voms } : {}) };
    return this.#trust;
  }

  /** What is broken now, file by file, of the trust directory and the vomsdir. */
  problems(): readonly Problem[] {
    const listed = this.#files.problem === undefined ? [] : [{ file: this.#directory, message: this.#files.problem }];
    const broken = [...this.#files.values()].flatMap((file) => (file.kind === 'broken' ? [{ file: file.file, message: file.message }] : []));
    return [...listed, ...broken, ...this.#problems, ...(this.#voms?.problems() ?? [])];
  }

  #load(name: string, file: string, bytes: Buffer | Error): TrustFile {
    try {
      return { file, ...loadFile(name, bytes) };
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#log.error({ file, error: message }, 'a file of the trust directory is broken: the authority it belongs to is disabled');
      return { kind: 'broken', file, message };
    }
  }

  #assemble(): void {
    const groups = new Map<string, TrustFile[]>();
    for (const [name, file] of this.#files.entries()) {
      const hash = name.slice(0, 8);
      groups.set(hash, [...(groups.get(hash) ?? []), file]);
    }
    const { authorities, problems } = assembleAuthorities(groups, { policyFileOf: (hash) => join(this.#directory, `${hash}.signing_policy`), sha1: this.#settings.sha1 });
    for (const { file, message } of problems) this.#log.error({ file, error: message }, 'a file of the trust directory is broken: the authority it belongs to is disabled');
    this.#problems = problems;
    this.#trust = { ...this.#trust, authorities };
  }
}

type Loaded = TrustFile extends infer T ? (T extends { readonly file: string } ? Omit<T, 'file'> : never) : never;

function loadFile(name: string, bytes: Buffer | Error): Loaded {
  if (bytes instanceof Error) throw bytes;
  const [, hash, authority, crl] = fileName.exec(name) ?? [];
  if (authority !== undefined) return { kind: 'authority', certificate: readAuthority(bytes, hash ?? '') };
  if (crl !== undefined) return { kind: 'crl', crl: readCrl(pemOrDer(bytes, ['X509 CRL'])) };
  return { kind: 'policy', policy: readSigningPolicy(bytes.toString('utf8')) };
}

function readAuthority(bytes: Buffer, hash: string): Certificate {
  const certificate = readCertificate(pemOrDer(bytes, ['CERTIFICATE', 'X509 CERTIFICATE']));
  const names = nameHashes(certificate.subjectDer);
  if (!names.includes(hash)) throw new Error(`the name of the file should be ${names[0]}.N (or ${names[1]}.N) for ${certificate.subject}`);
  return certificate;
}

function pemOrDer(bytes: Buffer, labels: readonly string[]): Uint8Array {
  if (bytes[0] === 0x30) return bytes;
  const block = readPem(bytes.toString('latin1'), largest).find(({ label }) => labels.includes(label));
  if (!block) throw new Error(`there is no ${labels[0]} in the file`);
  return block.der;
}

/** OpenSSL's file name hashes of a DER name: the new kind (SHA-1 of the canonical form), then the old one (MD5). */
export function nameHashes(name: Uint8Array): [string, string] {
  const first = (digest: Buffer): string => digest.readUInt32LE(0).toString(16).padStart(8, '0');
  return [first(createHash('sha1').update(canonicalName(name)).digest()), first(createHash('md5').update(name).digest())];
}
