/** The object identifiers that gridvc reads or writes. */

export const subjectKeyIdentifier = '2.5.29.14';
export const keyUsage = '2.5.29.15';
export const subjectAltName = '2.5.29.17';
export const issuerAltName = '2.5.29.18';
export const basicConstraints = '2.5.29.19';
export const nameConstraints = '2.5.29.30';
export const certificatePolicies = '2.5.29.32';
export const policyMappings = '2.5.29.33';
export const authorityKeyIdentifier = '2.5.29.35';
export const policyConstraints = '2.5.29.36';
export const extendedKeyUsage = '2.5.29.37';
export const inhibitAnyPolicy = '2.5.29.54';

export const anyExtendedKeyUsage = '2.5.29.37.0';
export const serverAuth = '1.3.6.1.5.5.7.3.1';
export const clientAuth = '1.3.6.1.5.5.7.3.2';

/** RFC 3820 ProxyCertInfo, and the number that came before it (GT3 drafts), which is refused. */
export const proxyCertInfo = '1.3.6.1.5.5.7.1.14';
export const draftProxyCertInfo = '1.3.6.1.4.1.3536.1.222';
export const inheritAll = '1.3.6.1.5.5.7.21.1';
export const independent = '1.3.6.1.5.5.7.21.2';
export const limitedProxy = '1.3.6.1.4.1.3536.1.1.1.9';

/** VOMS: the attribute certificates inside a proxy, and what stands in them. */
export const vomsAttributeCertificates = '1.3.6.1.4.1.8005.100.100.5';
export const vomsFqans = '1.3.6.1.4.1.8005.100.100.4';
export const vomsCertificates = '1.3.6.1.4.1.8005.100.100.10';
export const vomsTags = '1.3.6.1.4.1.8005.100.100.11';
export const acTargets = '2.5.29.55';
export const acNoRevocation = '2.5.29.56';

export const anyPolicy = '2.5.29.32.0';

/** Signature algorithms: the kind of key, the hash for node:crypto, and whether it is too weak to accept. PSS is verified by OpenSSL's own parser, which knows its parameters. */
export const signatureAlgorithms: Readonly<Record<string, { readonly name: string; readonly key: 'rsa' | 'ec' | 'ed25519' | 'ed448'; readonly hash: string | null; readonly weak?: 'md5' | 'sha1' }>> = {
  '1.2.840.113549.1.1.4': { key: 'rsa', name: 'RSA with MD5', hash: 'md5', weak: 'md5' },
  '1.2.840.113549.1.1.5': { key: 'rsa', name: 'RSA with SHA-1', hash: 'sha1', weak: 'sha1' },
  '1.2.840.113549.1.1.14': { key: 'rsa', name: 'RSA with SHA-224', hash: 'sha224' },
  '1.2.840.113549.1.1.11': { key: 'rsa', name: 'RSA with SHA-256', hash: 'sha256' },
  '1.2.840.113549.1.1.12': { key: 'rsa', name: 'RSA with SHA-384', hash: 'sha384' },
  '1.2.840.113549.1.1.13': { key: 'rsa', name: 'RSA with SHA-512', hash: 'sha512' },
  '1.2.840.10045.4.1': { key: 'ec', name: 'ECDSA with SHA-1', hash: 'sha1', weak: 'sha1' },
  '1.2.840.10045.4.3.1': { key: 'ec', name: 'ECDSA with SHA-224', hash: 'sha224' },
  '1.2.840.10045.4.3.2': { key: 'ec', name: 'ECDSA with SHA-256', hash: 'sha256' },
  '1.2.840.10045.4.3.3': { key: 'ec', name: 'ECDSA with SHA-384', hash: 'sha384' },
  '1.2.840.10045.4.3.4': { key: 'ec', name: 'ECDSA with SHA-512', hash: 'sha512' },
  '1.3.101.112': { key: 'ed25519', name: 'Ed25519', hash: null },
  '1.3.101.113': { key: 'ed448', name: 'Ed448', hash: null },
};
