/**
 * A Globus trust directory (X509_CERT_DIR): authorities as HASH.N, their HASH.signing_policy, their
 * CRLs HASH.rN. HASH is OpenSSL's name hash, of the new (SHA-1) or the old (MD5) kind. It is looked
 * through again when it is asked for and two seconds have passed; only files that changed are read. A broken file
 * disables the authorities of its hash, loudly, and no other.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../log.js';
import { readCertificate, type Certificate } from './certificate.js';
import { readCrl, type Crl } from './crl.js';
import { canonicalName } from './dn.js';
import { readPem } from './pem.js';
import { readSigningPolicy, type SigningPolicy } from './signing-policy.js';

export interface Authority {
  readonly certificate: Certificate;
  readonly file: string;
  readonly policy: SigningPolicy | undefined;
  readonly policyFile: string;
  /** Signed by this authority's key. */
  readonly crls: readonly { readonly crl: Crl; readonly file: string }[];
  /** Why this authority cannot be used, with the file that is broken. */
  readonly broken?: { readonly file: string; readonly message: string };
}

export interface TrustSettings {
  /** Proxies in one chain. */
  readonly proxies: number;
  readonly crl: 'require' | 'if-present';
  readonly sha1: boolean;
  /** Longest life of a proxy, seconds; undefined: as long as its issuer's. */
  readonly proxySeconds?: number;
}

export const defaultTrustSettings: TrustSettings = { proxies: 20, crl: 'if-present', sha1: false };

/** What a chain is validated against: a value, never changed. */
export interface Trust {
  readonly directory: string;
  /** By canonical subject (Certificate.subjectKey). */
  readonly authorities: ReadonlyMap<string, readonly Authority[]>;
  readonly settings: TrustSettings;
}

const fileName = /^([0-9a-f]{8})\.(?:(\d{1,3})|r(\d{1,3})|(signing_policy))$/;
const largest = 64 * 1024 * 1024;
const checkEvery = 2_000;

type Loaded = { readonly kind: 'authority'; readonly certificate: Certificate } | { readonly kind: 'crl'; readonly crl: Crl } | { readonly kind: 'policy'; readonly policy: SigningPolicy } | { readonly kind: 'broken'; readonly message: string };

export class TrustDirectory {
  readonly #directory: string;
  readonly #log: Log;
  readonly #settings: TrustSettings;
  readonly #files = new Map<string, { readonly stamp: string; readonly loaded: Loaded }>();
  #trust: Trust;
  #checked = 0;

  private constructor(directory: string, log: Log, settings: TrustSettings) {
    this.#directory = directory;
    this.#log = log;
    this.#settings = settings;
    this.#trust = { directory, authorities: new Map(), settings };
    this.refresh();
  }

  /** Reads the directory; a directory that cannot be read holds no authority (and is logged). */
  static open(directory: string, log: Log, settings: Partial<TrustSettings> = {}): TrustDirectory {
    return new TrustDirectory(directory, log, { ...defaultTrustSettings, ...settings });
  }

  /** What is trusted now. Cheap: the directory is looked at no more often than every two seconds. */
  current(): Trust {
    if (Math.abs(Date.now() - this.#checked) >= checkEvery) this.refresh();
    return this.#trust;
  }

  /** Looks at the directory now and reads what changed. */
  refresh(): Trust {
    this.#checked = Date.now();
    if (this.#readChanged()) this.#trust = { directory: this.#directory, authorities: this.#assemble(), settings: this.#settings };
    return this.#trust;
  }

  /** @returns whether anything changed */
  #readChanged(): boolean {
    let changed = false;
    const present = new Set<string>();
    for (const name of this.#list()) {
      const file = join(this.#directory, name);
      const stamp = stampOf(file);
      present.add(name);
      if (this.#files.get(name)?.stamp === stamp) continue;
      this.#files.set(name, { stamp, loaded: this.#load(name, file) });
      changed = true;
    }
    for (const name of this.#files.keys()) {
      if (!present.has(name)) changed = this.#files.delete(name);
    }
    return changed;
  }

  #list(): string[] {
    try {
      return readdirSync(this.#directory).filter((name) => fileName.test(name)).sort();
    } catch (error) {
      this.#log.error({ directory: this.#directory, error: String(error) }, 'the trust directory cannot be read: nobody is trusted');
      return [];
    }
  }

  #load(name: string, file: string): Loaded {
    try {
      return loadFile(name, file);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#log.error({ file, error: message }, 'a file of the trust directory is broken: the authority it belongs to is disabled');
      return { kind: 'broken', message };
    }
  }

  #assemble(): Map<string, readonly Authority[]> {
    const byFingerprint = new Map<string, Authority>();
    for (const hash of new Set([...this.#files.keys()].map((name) => name.slice(0, 8)))) {
      for (const authority of this.#ofHash(hash)) {
        const known = byFingerprint.get(authority.certificate.fingerprint);
        byFingerprint.set(authority.certificate.fingerprint, known ? merge(known, authority) : authority);
      }
    }
    const bySubject = new Map<string, Authority[]>();
    for (const authority of byFingerprint.values()) {
      const key = authority.certificate.subjectKey;
      bySubject.set(key, [...(bySubject.get(key) ?? []), authority]);
    }
    return bySubject;
  }

  #ofHash(hash: string): Authority[] {
    const files = [...this.#files].filter(([name]) => name.startsWith(`${hash}.`)).map(([name, { loaded }]) => ({ file: join(this.#directory, name), loaded }));
    const certificates = files.flatMap(({ file, loaded }) => (loaded.kind === 'authority' ? [{ file, certificate: loaded.certificate }] : []));
    const crls = files.flatMap(({ file, loaded }) => (loaded.kind === 'crl' ? [{ file, crl: loaded.crl }] : []));
    const brokenFile = files.flatMap(({ file, loaded }) => (loaded.kind === 'broken' ? [{ file, message: loaded.message }] : []))[0];
    const foreign = crls.find(({ crl }) => !certificates.some(({ certificate }) => certificate.subjectKey === crl.issuerKey && crl.signedBy(certificate)));
    const broken = brokenFile ?? (foreign && { file: foreign.file, message: 'this CRL is not signed by an authority of the same hash' });
    if (foreign && !brokenFile) this.#log.error({ file: foreign.file }, 'a CRL is not signed by its authority: the authority is disabled');
    return certificates.map(({ file, certificate }) => ({
      certificate,
      file,
      policy: files.flatMap(({ loaded }) => (loaded.kind === 'policy' ? [loaded.policy] : []))[0],
      policyFile: join(this.#directory, `${hash}.signing_policy`),
      crls: crls.filter(({ crl }) => crl.issuerKey === certificate.subjectKey && crl.signedBy(certificate)),
      ...(broken ? { broken } : {}),
    }));
  }
}

/** The same authority under both of its hashes: what either has counts, what is broken in either too. */
function merge(one: Authority, other: Authority): Authority {
  const policy = one.policy ? one : other;
  const broken = one.broken ?? other.broken;
  return { ...one, policy: policy.policy, policyFile: policy.policyFile, crls: [...one.crls, ...other.crls], ...(broken ? { broken } : {}) };
}

function stampOf(file: string): string {
  const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
  return stat ? `${stat.ino} ${stat.size} ${stat.mtimeNs}` : 'gone';
}

function loadFile(name: string, file: string): Loaded {
  const [, hash, authority, crl] = fileName.exec(name) ?? [];
  const bytes = readFileSync(file);
  if (bytes.length > largest) throw new Error(`larger than ${largest} bytes`);
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
