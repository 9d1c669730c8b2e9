/**
 * Certificates of the overlay CA: a hub's, a node's, a user's profile. The subject of the last two is the owner's grid
 * DN + CN=<cluster> + CN=<name>.<cluster>: the last CN is what the hub admits by, and it holds the cluster.
 */
import { makeKey, issueCertificate, type Issuer } from '../../src/pki/issue.js';

export interface OverlayCertificate {
  readonly certificate: string;
  readonly key: string;
  /** Hex. */
  readonly serial: string;
  /** Common name. */
  readonly name: string;
}

/** The common name of a node ("n1"), a profile ("u1") or the hub ("hub") in the overlay. */
export function overlayName(name: string, cluster: string): string {
  return `${name}.${cluster}`;
}

/** @param notAfter ends no later than this, nor than the CA */
export async function issueHub(issuer: Issuer, cluster: string, notAfter: Date): Promise<OverlayCertificate> {
  const name = overlayName('hub', cluster);
  const { key, publicKey } = await makeKey('ec');
  const issued = await issueCertificate({ issuer, subject: `/CN=${cluster}/CN=${name}`, publicKey, notAfter, usage: 'overlay-hub' });
  return { ...issued, key, name };
}

/** A client's certificate, for a node or for a person. @param name "n1" or "u1" */
export async function issueClient(issuer: Issuer, client: { owner: string; cluster: string; name: string; notAfter: Date }): Promise<OverlayCertificate> {
  const name = overlayName(client.name, client.cluster);
  const { key, publicKey } = await makeKey('ec');
  const issued = await issueCertificate({ issuer, subject: client.owner, append: [client.cluster, name], publicKey, notAfter: client.notAfter, usage: 'overlay-node' });
  return { ...issued, key, name };
}
