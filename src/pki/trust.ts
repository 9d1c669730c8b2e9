/**
 * What a chain is validated against: authorities with their signing policies and revocation lists, put
 * together from files that were read. Values and rules only; trust-directory.ts reads the files.
 */
import type { Certificate } from './certificate.js';
import type { Crl } from './crl.js';
import type { SigningPolicy } from './signing-policy.js';
import type { VomsTrust } from './voms-trust.js';

export interface Authority {
  readonly certificate: Certificate;
  readonly file: string;
  /** 'any': signing policies are not asked for (TrustSettings.intermediates sent). */
  readonly policy: SigningPolicy | 'any' | undefined;
  readonly policyFile: string;
  /** A path may end here; else it goes on to the issuer. */
  readonly anchor: boolean;
  /** Of this name, signed by the key of an authority of this name. */
  readonly crls: readonly { readonly crl: Crl; readonly file: string }[];
  /** Why this authority cannot be used, with the file that is broken. */
  readonly broken?: Problem;
}

/** One file that is broken. */
export interface Problem {
  readonly file: string;
  readonly message: string;
}

export interface TrustSettings {
  /** Proxies in one chain. */
  readonly proxies: number;
  readonly crl: 'require' | 'if-present';
  readonly sha1: boolean;
  /** Longest life of a proxy, seconds; undefined: as long as its issuer's. */
  readonly proxySeconds?: number;
  /**
   * Where sub-authorities may come from. 'directory' is the rule of grids: each authority is trusted by name.
   * 'sent' also takes what the peer sent, as web browsers do; without signing policies.
   */
  readonly intermediates: 'directory' | 'sent';
  /** Authorities between the end entity and the anchor. */
  readonly depth: number;
}

export const defaultTrustSettings: TrustSettings = { proxies: 20, crl: 'if-present', sha1: false, intermediates: 'directory', depth: 10 };

/** A value, never changed. */
export interface Trust {
  readonly directory: string;
  /** By canonical subject (Certificate.subjectKey). */
  readonly authorities: ReadonlyMap<string, readonly Authority[]>;
  readonly settings: TrustSettings;
  /** VOMS servers; undefined: attribute certificates are not looked at. */
  readonly voms?: VomsTrust;
}

export type TrustFile = { readonly file: string } & (
  | { readonly kind: 'authority'; readonly certificate: Certificate }
  | { readonly kind: 'crl'; readonly crl: Crl }
  | { readonly kind: 'policy'; readonly policy: SigningPolicy }
  | { readonly kind: 'broken'; readonly message: string }
);

/**
 * Puts files of one directory together.
 * @param groups the files of each HASH; a broken one disables the authorities of its group
 * @param options the policy file of a group that has none (for messages), and whether SHA-1 is accepted
 * @returns authorities by canonical subject, and the CRLs that no authority signed
 */
export function assembleAuthorities(groups: ReadonlyMap<string, readonly TrustFile[]>, options: { readonly policyFileOf: (group: string) => string; readonly sha1: boolean }): { authorities: Map<string, readonly Authority[]>; problems: Problem[] } {
  const problems: Problem[] = [];
  const byFingerprint = new Map<string, Authority>();
  const certificates = [...groups.values()].flat().flatMap((file) => (file.kind === 'authority' ? [file.certificate] : []));
  for (const [group, files] of groups) {
    const crls = files.flatMap((file) => (file.kind === 'crl' ? [file] : []));
    const foreign = crls.filter(({ crl }) => !certificates.some((certificate) => certificate.subjectKey === crl.issuerKey && crl.signedBy(certificate, options.sha1)));
    problems.push(...foreign.map(({ file }) => ({ file, message: 'this CRL is not signed by an authority of its name (or its key may not sign CRLs)' })));
    const broken = files.find((file) => file.kind === 'broken') ?? problems.find(({ file }) => foreign.some((each) => each.file === file));
    const policy = files.find((file) => file.kind === 'policy');
    for (const { certificate, file } of files.flatMap((each) => (each.kind === 'authority' ? [each] : []))) {
      const authority: Authority = {
        certificate,
        file,
        policy: policy?.policy,
        policyFile: policy?.file ?? options.policyFileOf(group),
        anchor: certificate.selfIssued,
        crls: crls.filter(({ crl }) => crl.issuerKey === certificate.subjectKey && !foreign.some((each) => each.crl === crl)),
        ...(broken ? { broken: { file: broken.file, message: broken.message } } : {}),
      };
      const known = byFingerprint.get(certificate.fingerprint);
      byFingerprint.set(certificate.fingerprint, known ? merge(known, authority) : authority);
    }
  }
  return { authorities: bySubject([...byFingerprint.values()]), problems };
}

/** Authorities by canonical subject. */
export function bySubject(authorities: readonly Authority[]): Map<string, readonly Authority[]> {
  const map = new Map<string, Authority[]>();
  for (const authority of authorities) {
    const key = authority.certificate.subjectKey;
    map.set(key, [...(map.get(key) ?? []), authority]);
  }
  return map;
}

/** The same authority under both of its hashes: what either has counts, what is broken in either too. */
function merge(one: Authority, other: Authority): Authority {
  const policy = one.policy ? one : other;
  const broken = one.broken ?? other.broken;
  return { ...one, policy: policy.policy, policyFile: policy.policyFile, crls: [...one.crls, ...other.crls], ...(broken ? { broken } : {}) };
}
