/** What every certificate of a chain must be: of the present time, and without critical extensions that nobody here understands. */
import type { Certificate } from './certificate.js';
import * as oids from './oids.js';
import { Refused } from './refusal.js';

/** How far another clock may be ahead; ms. Nothing is forgiven at the end of a life. */
export const allowedSkew = 5 * 60_000;

/** notAfter is the last second of a life (RFC 5280, 4.1.2.5). */
export function checkDates(certificate: Certificate, now: number): void {
  if (now >= certificate.notAfter + 1000) {
    throw new Refused('expired', certificate.subject, `it expired at ${isoTime(certificate.notAfter)}; the clock here says ${isoTime(now)}`, {
      hint: certificate.proxy ? 'make a new proxy: gridvc proxy init' : 'renew the certificate',
    });
  }
  if (certificate.notBefore > now + allowedSkew) {
    throw new Refused('not-yet-valid', certificate.subject, `it is valid from ${isoTime(certificate.notBefore)}; the clock here says ${isoTime(now)}`, { hint: 'compare the clocks of both machines' });
  }
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}

const understood: readonly string[] = [
  oids.basicConstraints,
  oids.keyUsage,
  oids.extendedKeyUsage,
  oids.subjectAltName,
  oids.certificatePolicies,
  oids.proxyCertInfo,
];
const understoodOfAuthorities: readonly string[] = [oids.nameConstraints, oids.policyMappings, oids.policyConstraints, oids.inhibitAnyPolicy];

export function checkCritical(certificate: Certificate): void {
  for (const [type, { critical }] of certificate.extensions) {
    if (critical && !understood.includes(type) && !(certificate.authority && understoodOfAuthorities.includes(type))) {
      throw new Refused('unsupported', certificate.subject, `it has a critical extension that is not supported: ${type}`);
    }
  }
}
