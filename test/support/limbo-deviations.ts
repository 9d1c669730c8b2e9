/** Where the validator knowingly differs from x509-limbo, with the reason of each. docs/identity.md tells the same in words. */

const identifiers = 'key identifiers only help to choose an issuer; the signature decides. Proxies of grid-proxy-init have none, nor do old grid authorities';
const skew = 'a certificate may begin up to five minutes ahead of our clock: proxies are made seconds before they are used, by machines with other clocks';
const authority = 'a grid identity is an end entity: an authority that logs in could sign itself any name';

/** Wrongly accepted, by the letter of RFC 5280. */
const accepted = {
  'crl::crlnumber-missing': 'RFC 5280 asks it of who issues a CRL; lists of version 1 have none, and it says nothing about who is revoked',
  'rfc5280::aki::leaf-missing-aki': identifiers,
  'rfc5280::aki::intermediate-missing-aki': identifiers,
  'rfc5280::aki::cross-signed-root-missing-aki': identifiers,
  'rfc5280::ski::root-missing-ski': identifiers,
  'rfc5280::ski::intermediate-missing-ski': identifiers,
  'rfc5280::nc::permitted-dns-match-noncritical': 'name constraints are applied whether critical or not',
  'rfc5280::serial::zero': 'RFC 5280, 4.1.2.2 asks who reads certificates to put up with such numbers; revocation compares the bytes',
  'rfc5280::validity::notbefore-fractional': skew,
  'rfc5280::validity::not-yet-valid-1-second': skew,
  'rfc5280::validity::not-yet-valid-5-seconds': skew,
  'rfc5280::root-non-critical-basic-constraints': 'cA is obeyed whether critical or not; roots of old grid authorities are so',
};

/** Wrongly refused. */
const refused = {
  'cve::cve-2024-0567': 'its end entity has an empty subject: there is no DN to map (the path itself, with its loops, is found)',
  'pathlen::validation-ignores-pathlen-in-leaf': authority,
  'rfc5280::ca-as-leaf': authority,
};

export const deviations: Readonly<Record<string, string>> = { ...accepted, ...refused };
