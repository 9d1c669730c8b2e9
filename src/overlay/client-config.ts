/**
 * The text of OpenVPN clients, pure: the files of a node (the writable layer gets them before it boots) and the profile
 * of a user's laptop. Both insist on the hub's name, so that no other certificate of the overlay CA can pose as the hub.
 * A client keeps no key in memory over a soft restart (no persist-key): replacing the certificate file is enough to renew it.
 */
import type { ContextFile, NodeSpec, OverlaySpec } from '../domain/node.js';
import { commonOptions, lines } from './hub-config.js';

const directory = '/etc/openvpn';

/** Path of a node's client configuration: `openvpn --config` of it is what the node supervises. */
export const nodeConfigPath = `${directory}/gridvc.conf`;
export const nodeCertificatePath = `${directory}/gridvc.crt`;

export interface Credentials {
  readonly certificate: string;
  readonly key: string;
}

/** /etc/openvpn/gridvc.conf and the certificate, key (0600) and CA that it names. */
export function nodeFiles(node: Pick<NodeSpec, 'certificate' | 'key'>, overlay: OverlaySpec): readonly ContextFile[] {
  const config = lines([
    ...clientOptions(overlay),
    'dev tun0', // the name that the nodes' MPI settings know
    `ca ${directory}/gridvc-ca.crt`,
    `cert ${nodeCertificatePath}`,
    `key ${directory}/gridvc.key`,
    'script-security 1',
  ]);
  return [
    file(nodeConfigPath, 0o644, config),
    file(`${directory}/gridvc-ca.crt`, 0o644, overlay.ca),
    file(nodeCertificatePath, 0o644, node.certificate),
    file(`${directory}/gridvc.key`, 0o600, node.key),
  ];
}

/** A .ovpn profile, all in one text, for any OpenVPN 2.5 or newer client. */
export function userProfile(credentials: Credentials, overlay: OverlaySpec): string {
  return lines([
    '# gridvc: one user, one cluster; keep it private (it holds a key)',
    ...clientOptions(overlay),
    'dev tun',
    'tls-client',
    block('ca', overlay.ca),
    block('cert', credentials.certificate),
    block('key', credentials.key),
  ]);
}

function clientOptions(overlay: OverlaySpec): readonly string[] {
  return [
    'client',
    ...commonOptions,
    `remote ${overlay.hubHost} ${overlay.hubPort}`,
    'nobind',
    'resolv-retry infinite',
    'connect-retry 1 2',
    'tls-timeout 1', // a first packet that came before the hub listened is sent again after 1 s, not 2
    'hand-window 20',
    'ping 5',
    'ping-restart 20',
    'explicit-exit-notify 1',
    'remote-cert-tls server',
    `verify-x509-name ${overlay.hubName} name`,
    'persist-tun',
    'auth-nocache',
    'verb 1',
  ];
}

function block(tag: string, pem: string): string {
  return `<${tag}>\n${pem.trim()}\n</${tag}>`;
}

function file(path: string, mode: number, text: string): ContextFile {
  return { path, mode, uid: 0, gid: 0, content: Buffer.from(text) };
}
