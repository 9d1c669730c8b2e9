/** Why a certificate chain was refused: whose certificate, which check, which file, and what to do. */

export const refusalCodes = [
  'no-certificate', // the client sent none, or it could not be read
  'malformed', // not strict DER, or a part contradicts another
  'too-many', // more certificates or proxies than allowed
  'expired',
  'not-yet-valid',
  'incomplete', // an issuer is missing from what was sent
  'unknown-authority', // the issuer is not in the trust directory
  'authority-disabled', // it is there, but one of its files is broken
  'bad-signature',
  'weak-crypto',
  'not-an-authority', // cA, key usage or path length forbid what it signed
  'wrong-usage', // key usage or extended key usage forbid this use
  'bad-proxy', // a rule of RFC 3820
  'signing-policy',
  'name-constraints',
  'revoked',
  'crl', // missing though required, or expired
  'unsupported', // a critical extension that is not understood
] as const;

export type RefusalCode = (typeof refusalCodes)[number];

export interface Refusal {
  readonly code: RefusalCode;
  /** Globus DN of the certificate that failed, "" if it could not be read. */
  readonly certificate: string;
  /** The rule, in a few words. */
  readonly check: string;
  readonly file?: string;
  /** One line for people. */
  readonly message: string;
  readonly hint?: string;
}

/** How the checks report inside validateChain; it never leaves that function. */
export class Refused extends Error {
  readonly refusal: Refusal;

  constructor(code: RefusalCode, certificate: string, check: string, options: { file?: string; hint?: string } = {}) {
    super(check);
    const message = `certificate ${certificate === '' ? '(unreadable)' : certificate}: ${check}${options.file ? ` (${options.file})` : ''}`;
    this.refusal = { code, certificate, check, message, ...options };
  }
}
