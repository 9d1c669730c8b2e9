/**
 * Everything secret or shared that is decided before a cluster's nodes boot: certificates, ssh keys, and the texts that
 * name the nodes to each other. Kept in one 0600 file per cluster (store/secrets.ts) until the cluster is destroyed.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import type { NodeSpec, OverlaySpec, PartSpec } from '../../src/domain/node.js';
import { hubAddress, nodeAddress, netmask, type Block } from '../../src/overlay/addresses.js';
import { makeSshKey } from '../../src/pki/ssh-key.js';
import type { Issuer } from '../../src/pki/issue.js';
import { issueClient, issueHub, overlayName, type OverlayCertificate } from '../hub/credentials.js';
import type { ClusterRow, NodeRow, PartRow } from './records.js';
import { required, type Share } from '../schedule.js';

export interface Material {
  readonly hub: OverlayCertificate;
  readonly port: number;
  readonly block: Block;
  readonly nodes: readonly (NodeSpec & { readonly serial: string })[];
  readonly overlay: OverlaySpec;
  readonly hosts: string;
  readonly hostfile: string;
  readonly knownHosts: string;
  readonly clusterKey: string;
  readonly clusterKeyPublic: string;
}

export interface OverlaySettings {
  /** Address of this gatekeeper as nodes see it. */
  readonly address: string;
  readonly issuer: Issuer;
}

/** Seconds that a head waits after the lease's end before it acts on its own: destroying is the gatekeeper's work. */
const headGraceSeconds = 60;

/** Names and addresses of all nodes, in the order of the shares: n1, n2, ... through all sites. */
export function numberNodes(shares: readonly Share[], block: Block): readonly Omit<NodeRow, 'host' | 'state'>[] {
  const sites = shares.flatMap((share) => Array.from({ length: share.nodes }, () => share.site));
  return sites.map((site, i) => ({ number: i + 1, name: `n${i + 1}`, site, address: nodeAddress(block, i + 1) }));
}

/** Issues and writes down everything for these nodes; about 2 ms a node. @param hubNotAfter the hub may outlive extensions */
export async function makeMaterial(cluster: ClusterRow, place: { block: Block; port: number; nodes: readonly Pick<NodeRow, 'name' | 'address'>[]; hubNotAfter: Date }, overlay: OverlaySettings): Promise<Material> {
  const notAfter = certificateEnd(cluster);
  const nodes: Material['nodes'][number][] = [];
  for (const { name, address } of place.nodes) {
    const client = await issueClient(overlay.issuer, { owner: cluster.owner, cluster: cluster.id, name, notAfter });
    const ssh = makeSshKey(`${name}.${cluster.id}`);
    nodes.push({ name, overlayAddress: address, certificate: client.certificate, key: client.key, serial: client.serial, hostKey: ssh.private, hostKeyPublic: ssh.public });
    if (nodes.length % 8 === 0) await breathe(); // other requests get their turn
  }
  const own = makeSshKey(`cluster-${cluster.id}`);
  return {
    hub: await issueHub(overlay.issuer, cluster.id, place.hubNotAfter),
    port: place.port,
    block: place.block,
    nodes,
    overlay: { hubHost: overlay.address, hubPort: place.port, ca: overlay.issuer.certificate, hubName: overlayName('hub', cluster.id), netmask: netmask(place.block.prefix) },
    hosts: hostsText(cluster.id, place.block, nodes),
    hostfile: nodes.map((node) => `${node.name} slots=${cluster.request.vcpus}\n`).join(''),
    knownHosts: nodes.map((node) => `${node.name},${fullName(node.name, cluster.id)},${node.overlayAddress} ${node.hostKeyPublic}\n`).join(''),
    clusterKey: own.private,
    clusterKeyPublic: own.public,
  };
}

/** The end of certificates made now: the lease's, and no later than the owner's proxy or delegation. */
export function certificateEnd(cluster: Pick<ClusterRow, 'expires' | 'until'>): Date {
  return new Date(Math.min(cluster.expires.getTime(), cluster.until.getTime()));
}

/** What the head of one site is asked to bring up. @param files contents of uploads already put in */
export function partSpec(cluster: ClusterRow, material: Material, part: PartRow, all: { placed: number; names: ReadonlySet<string>; files: PartSpec['files'] }): PartSpec {
  const { memory, disk, vcpus, os, packages, bundles, exact, sshKeys } = cluster.request;
  return {
    cluster: cluster.id,
    owner: cluster.owner,
    memory,
    disk,
    vcpus,
    os,
    packages,
    bundles,
    ...(exact ? { exact } : {}),
    expires: cluster.expires.getTime() + headGraceSeconds * 1000,
    minCount: Math.max(1, required(cluster.request) - (all.placed - part.nodes)),
    nodes: material.nodes.filter((node) => all.names.has(node.name)).map(({ serial: _serial, ...node }) => node),
    overlay: material.overlay,
    hosts: material.hosts,
    hostfile: material.hostfile,
    knownHosts: material.knownHosts,
    authorizedKeys: [...sshKeys, material.clusterKeyPublic],
    clusterKey: material.clusterKey,
    clusterKeyPublic: material.clusterKeyPublic,
    files: all.files,
  };
}

/** "n1.<cluster>.gridvc" */
export function fullName(node: string, cluster: string): string {
  return `${node}.${cluster}.gridvc`;
}

function hostsText(cluster: string, block: Block, nodes: readonly Pick<NodeSpec, 'name' | 'overlayAddress'>[]): string {
  const entry = (address: string, name: string): string => `${address} ${fullName(name, cluster)} ${name}\n`;
  return `127.0.0.1 localhost\n::1 localhost ip6-localhost\n${entry(hubAddress(block), 'hub')}${nodes.map((node) => entry(node.overlayAddress, node.name)).join('')}`;
}
