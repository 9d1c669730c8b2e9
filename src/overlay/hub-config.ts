/**
 * The text of a hub's OpenVPN configuration and of its per-client files, pure.
 *
 * The hub's UDP socket stays in the namespace where openvpn starts; its tun device is moved into the cluster's own
 * namespace afterwards and configured there (ifconfig-noexec), so that what comes out of it reaches nothing else.
 * Admission: TLS client certificate of the overlay CA, not named in the crl directory, and (ccd-exclusive) a file with
 * the certificate's common name, <node>.<cluster>, which also fixes its address.
 */
import { netmask, hubAddress, type Block } from './addresses.js';

export interface HubPaths {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  /** Directory of files named by common name. */
  readonly clients: string;
  /** Directory of empty files named by decimal serial: revoked. */
  readonly revoked: string;
  readonly management: string;
  readonly log: string;
  readonly pid: string;
}

export interface HubConfig {
  readonly device: string;
  readonly port: number;
  readonly block: Block;
  readonly paths: HubPaths;
  /** Account to drop to after start; it must be able to enter clients/ and revoked/. */
  readonly account?: { readonly user: string; readonly group: string };
}

const ciphers = 'AES-128-GCM:AES-256-GCM:CHACHA20-POLY1305';

/** Options that hub and clients must have alike. */
export const commonOptions = [
  'proto udp',
  'dev-type tun',
  'topology subnet',
  'tls-version-min 1.2',
  `data-ciphers ${ciphers}`,
  `data-ciphers-fallback AES-128-GCM`,
  'allow-compression no',
] as const;

export function hubConfig(hub: HubConfig): string {
  return lines([
    'mode server',
    'tls-server',
    ...commonOptions,
    `port ${hub.port}`,
    'multihome', // a gatekeeper with several addresses must answer from the one that the nodes ask, or they drop the answer
    `dev ${hub.device}`,
    `ifconfig ${hubAddress(hub.block)} ${netmask(hub.block.prefix)}`,
    'ifconfig-noexec',
    'route-noexec',
    'push "topology subnet"',
    'keepalive 5 20', // clients find a restarted hub within 20 s; no explicit-exit-notify here: it delays each stop by 2 s
    `ca ${hub.paths.ca}`,
    `cert ${hub.paths.certificate}`,
    `key ${hub.paths.key}`,
    'dh none',
    'remote-cert-tls client',
    `crl-verify ${hub.paths.revoked} dir`,
    'client-to-client',
    `client-config-dir ${hub.paths.clients}`,
    'ccd-exclusive',
    `max-clients ${2 ** (32 - hub.block.prefix) - 3}`,
    'connect-freq-initial 100000 10', // the default, 100 in 10 s, would hold up clusters larger than that
    'disable-dco', // a DCO device cannot be moved away from its UDP socket's namespace
    'persist-key',
    'persist-tun',
    ...(hub.account ? [`user ${hub.account.user}`, `group ${hub.account.group}`] : []),
    `management ${hub.paths.management} unix`,
    `writepid ${hub.paths.pid}`,
    `log-append ${hub.paths.log}`,
    'verb 1',
    'mute 20',
  ]);
}

/** Content of the file `clients`/<common name>. */
export function clientFile(address: string, prefix: number): string {
  return `ifconfig-push ${address} ${netmask(prefix)}\n`;
}

export function lines(all: readonly string[]): string {
  return `${all.join('\n')}\n`;
}
