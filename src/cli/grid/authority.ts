/**
 * The embedded grid's certificates: its CA with the usual trust directory (HASH.0, HASH.signing_policy), an overlay
 * CA that is not in that directory, host certificates and the user's. Made once, renewed when under 30 days are left.
 * CA and user have RSA keys: grid-proxy-init can sign neither with an EC key nor under a certificate signed by one.
 */
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { GridError } from '../../domain/error.js';
import { issueCertificate, makeAuthority, makeKey, type CertificateOptions, type Issuer, type KeyKind } from '../../pki/issue.js';
import { runCommand } from '../../proc/command.js';
import { writeWhole } from '../files.js';
import { subjects, wan, type GridLayout } from './layout.js';

const day = 86_400_000;
const authorityDays = 3650;
const certificateDays = 365;
const renewDays = 30;

interface Files {
  readonly certificate: string;
  readonly key: string;
}

/** Makes or renews what is needed. @param user subject DN of the user. Returns lines that say what was made. */
export async function makeIdentities(layout: GridLayout, user: string): Promise<string[]> {
  const authority = await ensureAuthority(layout.authority, subjects.authority, 'rsa');
  await ensureAuthority(layout.overlayAuthority, subjects.overlayAuthority, 'ec');
  await writeTrust(layout, authority);
  const wanted: { files: Files; options: Pick<CertificateOptions, 'subject' | 'usage' | 'dnsNames' | 'addresses'>; keyMode: number; kind: KeyKind }[] = [
    { files: layout.user, options: { subject: user, usage: 'user' }, keyMode: 0o400, kind: 'rsa' },
    ...[layout.gatekeeper, ...layout.sites].map((process) => ({
      files: process,
      options: { subject: process.subject, usage: 'host' as const, dnsNames: ['localhost'], addresses: ['127.0.0.1', wan.address] },
      keyMode: 0o600,
      kind: 'ec' as const,
    })),
  ];
  const made: string[] = [];
  for (const { files, options, keyMode, kind } of wanted) {
    if (isFresh(files, authority)) continue;
    await issue(authority, files, { ...options, ...(await makeKey(kind)) }, keyMode);
    made.push(`certificate ${String(options.subject)}`);
  }
  return made;
}

async function ensureAuthority(files: Files, subject: string, kind: KeyKind): Promise<Issuer> {
  if (existsSync(files.certificate) && existsSync(files.key)) {
    const issuer = { certificate: readFileSync(files.certificate, 'utf8'), key: readFileSync(files.key, 'utf8') };
    if (endsIn(issuer.certificate) > (certificateDays + renewDays) * day) return issuer;
    throw new GridError('wrong-state', `the authority ${files.certificate} ends soon`, { hint: 'make a new grid: gridvc grid down --purge, then gridvc grid up' });
  }
  const issuer = await makeAuthority({ subject, days: authorityDays, kind });
  writeWhole(files.key, issuer.key);
  writeWhole(files.certificate, issuer.certificate, 0o644);
  return issuer;
}

/** The directory that X509_CERT_DIR would name: readable by everyone, as /etc/grid-security/certificates is. */
async function writeTrust(layout: GridLayout, authority: Issuer): Promise<void> {
  const hashed = await runCommand(['openssl', 'x509', '-noout', '-subject_hash'], { input: authority.certificate });
  const hash = hashed.stdout.trim();
  if (hashed.code !== 0 || !/^[0-9a-f]{8}$/.test(hash)) throw new GridError('internal', `openssl gave no hash of the CA's name: ${hashed.reason}`);
  const policy = [`access_id_CA  X509    '${subjects.authority}'`, 'pos_rights    globus  CA:sign', `cond_subjects globus  '"${subjects.pattern}"'`, ''].join('\n');
  writeWhole(join(layout.trust, `${hash}.0`), authority.certificate, 0o644);
  writeWhole(join(layout.trust, `${hash}.signing_policy`), policy, 0o644);
}

async function issue(issuer: Issuer, files: Files, options: Omit<CertificateOptions, 'issuer' | 'notAfter'> & { readonly key: string }, keyMode: number): Promise<void> {
  const { certificate } = await issueCertificate({ issuer, notAfter: new Date(Date.now() + certificateDays * day), ...options });
  rmSync(files.certificate, { force: true }); // never a certificate beside a key that is not its own
  writeWhole(files.key, options.key, keyMode);
  writeWhole(files.certificate, certificate, 0o644);
}

function isFresh(files: Files, authority: Issuer): boolean {
  if (!existsSync(files.certificate) || !existsSync(files.key)) return false;
  const certificate = new X509Certificate(readFileSync(files.certificate));
  return certificate.verify(new X509Certificate(authority.certificate).publicKey) && endsIn(certificate.toString()) > renewDays * day;
}

function endsIn(certificate: string): number {
  return Date.parse(new X509Certificate(certificate).validTo) - Date.now();
}
