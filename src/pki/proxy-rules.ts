/** What RFC 3820 (section 4.1) and Globus ask of the proxies of a chain. Signatures and dates are checked by chain.ts. */
import { keyUsageBits, type Certificate } from './certificate.js';
import { commonName } from './dn.js';
import { readOne, sameBytes, tags } from './der.js';
import * as oids from './oids.js';
import { Refused } from './refusal.js';
import type { TrustSettings } from './trust.js';

export interface Delegation {
  /** Whose name the chain speaks in. */
  readonly named: Certificate;
  readonly limited: boolean;
}

/** Checks the proxies under `endEntity`. @param proxies leaf first */
export function checkProxies(endEntity: Certificate, proxies: readonly Certificate[], settings: TrustSettings): Delegation {
  let issuer = endEntity;
  let left = Infinity;
  let delegation: Delegation = { named: endEntity, limited: false };
  for (const proxy of [...proxies].reverse()) {
    if (left <= 0) throw new Refused('bad-proxy', proxy.subject, 'the path length of a proxy above it allows no further proxy');
    left = Math.min(left - 1, proxy.proxy?.pathLength ?? Infinity);
    checkForm(proxy, issuer);
    checkLife(proxy, settings.proxySeconds);
    delegation = delegate(proxy, delegation);
    issuer = proxy;
  }
  return delegation;
}

function checkForm(proxy: Certificate, issuer: Certificate): void {
  const refuse = (check: string): never => {
    throw new Refused('bad-proxy', proxy.subject, check);
  };
  if (!proxy.proxy?.critical) refuse('its ProxyCertInfo extension is not critical');
  if (!extendsByOneCommonName(subjectOf(proxy), subjectOf(issuer))) refuse(`its subject is not that of its issuer ${issuer.subject} and exactly one CN more`);
  if (proxy.extensions.has(oids.subjectAltName) || proxy.extensions.has(oids.issuerAltName)) refuse('a proxy may have no alternative names');
  if (proxy.authority) refuse('a proxy may not be an authority (cA)');
  if (proxy.extensions.has(oids.nameConstraints)) refuse('a proxy may have no name constraints');
  if (proxy.keyUsage?.includes(keyUsageBits.keyCertSign)) refuse('the key usage of a proxy may not allow it to sign certificates');
  if (proxy.keyUsage && !proxy.keyUsage.includes(keyUsageBits.digitalSignature)) refuse('its key usage does not allow digital signatures');
  if (issuer.keyUsage && !issuer.keyUsage.includes(keyUsageBits.digitalSignature)) refuse(`the key usage of its issuer ${issuer.subject} does not allow digital signatures`);
}

function checkLife(proxy: Certificate, most: number | undefined): void {
  const seconds = (proxy.notAfter - proxy.notBefore) / 1000;
  if (most !== undefined && seconds > most) {
    throw new Refused('bad-proxy', proxy.subject, `it is made to live ${Math.round(seconds)} s; this server accepts proxies of up to ${most} s`, { hint: 'make a shorter proxy' });
  }
}

function delegate(proxy: Certificate, above: Delegation): Delegation {
  const { language, hasPolicy } = proxy.proxy as NonNullable<Certificate['proxy']>;
  if (language === oids.limitedProxy) return { ...above, limited: true };
  if (language !== oids.inheritAll && language !== oids.independent) {
    throw new Refused('bad-proxy', proxy.subject, `its policy language ${language} is not supported`, { hint: 'make an ordinary or a limited proxy' });
  }
  if (hasPolicy) throw new Refused('bad-proxy', proxy.subject, 'a policy text stands beside a policy language that may have none');
  if (above.limited) throw new Refused('bad-proxy', proxy.subject, 'a full proxy under a limited one');
  return language === oids.independent ? { named: proxy, limited: false } : above;
}

interface Name {
  readonly der: Uint8Array;
  readonly rdns: Certificate['subjectRdns'];
}

const subjectOf = ({ subjectDer, subjectRdns }: Certificate): Name => ({ der: subjectDer, rdns: subjectRdns });

/** subject = issuer's RDNs, byte for byte, and one RDN more with one CN. */
function extendsByOneCommonName(subject: Name, issuer: Name): boolean {
  const [whole, start] = [readOne(subject.der, tags.sequence).body, readOne(issuer.der, tags.sequence).body];
  if (whole.length <= start.length || !sameBytes(whole.subarray(0, start.length), start)) return false;
  const last = subject.rdns.at(-1);
  return subject.rdns.length === issuer.rdns.length + 1 && last?.length === 1 && last[0]?.type === commonName;
}

/** A proxy of Globus 2: issued by its own name without the last CN, which is "proxy" or "limited proxy". */
export function isLegacyProxy(certificate: Certificate): boolean {
  const value = certificate.subjectRdns.at(-1)?.[0]?.value;
  const text = value && Buffer.from(value).toString('latin1');
  return (text === 'proxy' || text === 'limited proxy') && extendsByOneCommonName(subjectOf(certificate), { der: certificate.issuerDer, rdns: certificate.issuerRdns });
}
