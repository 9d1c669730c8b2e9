/**
 * Where a command finds its state, gatekeeper, credential and trust directory. The order is that of the
 * Globus tools; the embedded grid fills in only what no variable and no option names.
 *
 *   credential   X509_USER_PROXY, /tmp/x509up_u<uid>, X509_USER_CERT + X509_USER_KEY, ~/.globus/usercert.pem + userkey.pem
 *   trust        X509_CERT_DIR, ~/.globus/certificates, /etc/grid-security/certificates
 *   gatekeeper   --gatekeeper, GRIDVC_GATEKEEPER
 *
 * Embedded grid: its proxy or user certificate, its trust directory, its gatekeeper. They are used together:
 * a gatekeeper named by hand gets the ordinary credential.
 */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { GridError } from '../domain/error.js';
import { runningGrid, type EmbeddedGrid } from './grid/state.js';

export interface Environment {
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  readonly homeDirectory: string;
}

export interface Credential {
  readonly kind: 'proxy' | 'certificate';
  readonly certificate: string;
  /** Same file for a proxy. */
  readonly key: string;
  /** For people: which rule found it. */
  readonly from: string;
}

export function thisEnvironment(): Environment {
  return { variables: process.env, uid: process.getuid?.() ?? 0, homeDirectory: homedir() };
}

/** State directory: GRIDVC_HOME, else /var/lib/gridvc for root, else ~/.local/share/gridvc. */
export function stateHome(environment: Environment): string {
  const named = environment.variables['GRIDVC_HOME'];
  if (named !== undefined && named !== '') {
    if (!named.startsWith('/')) throw new GridError('bad-request', `GRIDVC_HOME is "${named}", not an absolute path`);
    return named.replace(/\/+$/, '');
  }
  return environment.uid === 0 ? '/var/lib/gridvc' : join(environment.homeDirectory, '.local/share/gridvc');
}

/** The user's own files (ssh key, known hosts, profiles): XDG_CONFIG_HOME/gridvc or ~/.config/gridvc. */
export function userDirectory(environment: Environment): string {
  return join(environment.variables['XDG_CONFIG_HOME'] || join(environment.homeDirectory, '.config'), 'gridvc');
}

export function defaultProxyFile(environment: Environment): string {
  return `/tmp/x509up_u${environment.uid}`;
}

/** The embedded grid, if it runs and neither option nor variable names another gatekeeper. */
export function embeddedGrid(environment: Environment, gatekeeper?: string): EmbeddedGrid | undefined {
  if ((gatekeeper ?? environment.variables['GRIDVC_GATEKEEPER']) !== undefined) return undefined;
  return runningGrid(stateHome(environment));
}

/** @throws bad-request with both ways to name one */
export function findGatekeeper(environment: Environment, option?: string): string {
  const url = option ?? environment.variables['GRIDVC_GATEKEEPER'] ?? embeddedGrid(environment)?.layout.gatekeeper.url;
  if (url === undefined) {
    throw new GridError('bad-request', 'no gatekeeper is named, and no embedded grid runs here', {
      hint: 'give --gatekeeper https://HOST:8443, set GRIDVC_GATEKEEPER, or make a grid on this machine: gridvc grid up',
    });
  }
  if (!URL.canParse(url) || new URL(url).protocol !== 'https:') throw new GridError('bad-request', `"${url}" is not an https URL`, { hint: 'like https://gatekeeper.example.org:8443' });
  return url.replace(/\/+$/, '');
}

/** The trust directory that holds the CAs we believe. @throws not-authenticated if there is none */
export function findTrust(environment: Environment, grid?: EmbeddedGrid): string {
  const named = environment.variables['X509_CERT_DIR'];
  if (named) return named;
  if (grid !== undefined) return grid.layout.trust;
  const places = [join(environment.homeDirectory, '.globus/certificates'), '/etc/grid-security/certificates'];
  const found = places.find((place) => existsSync(place));
  if (found === undefined) {
    throw new GridError('not-authenticated', `no trust directory: neither X509_CERT_DIR nor ${places.join(' nor ')} is there`, { hint: 'install the certificates of your CAs there, or set X509_CERT_DIR' });
  }
  return found;
}

/** What to sign in with. @throws not-authenticated naming every place that was looked at */
export function findCredential(environment: Environment, grid?: EmbeddedGrid): Credential {
  const { variables } = environment;
  if (variables['X509_USER_PROXY']) return proxy(variables['X509_USER_PROXY'], 'X509_USER_PROXY');
  const named = variables['X509_USER_CERT'] !== undefined || variables['X509_USER_KEY'] !== undefined;
  if (grid !== undefined && !named) {
    if (existsSync(grid.layout.user.proxy)) return proxy(grid.layout.user.proxy, 'the embedded grid');
    return findUserCertificate(environment, grid);
  }
  if (existsSync(defaultProxyFile(environment))) return proxy(defaultProxyFile(environment), 'the default place');
  return findUserCertificate(environment, grid);
}

/** The long-lived certificate and key, as `gridvc proxy init` needs them. */
export function findUserCertificate(environment: Environment, grid?: EmbeddedGrid): Credential {
  const { variables, homeDirectory } = environment;
  const certificate = variables['X509_USER_CERT'];
  const key = variables['X509_USER_KEY'];
  if (certificate || key) {
    if (!certificate || !key) throw new GridError('not-authenticated', `${certificate ? 'X509_USER_CERT' : 'X509_USER_KEY'} is set, but ${certificate ? 'X509_USER_KEY' : 'X509_USER_CERT'} is not`, { hint: 'set both or none' });
    return { kind: 'certificate', certificate, key, from: 'X509_USER_CERT and X509_USER_KEY' };
  }
  if (grid !== undefined) return { kind: 'certificate', certificate: grid.layout.user.certificate, key: grid.layout.user.key, from: 'the embedded grid' };
  const files = { certificate: join(homeDirectory, '.globus/usercert.pem'), key: join(homeDirectory, '.globus/userkey.pem') };
  if (existsSync(files.certificate) && existsSync(files.key)) return { kind: 'certificate', ...files, from: '~/.globus' };
  throw new GridError('not-authenticated', `no credential: no X509_USER_PROXY, ${defaultProxyFile(environment)}, X509_USER_CERT with X509_USER_KEY, nor ${files.certificate} with userkey.pem`, {
    hint: 'make a proxy with grid-proxy-init or gridvc proxy init; a grid on this machine brings its own certificate: gridvc grid up',
  });
}

/** Where `proxy init` writes and `proxy info` reads by default. */
export function proxyFile(environment: Environment, grid?: EmbeddedGrid): string {
  const named = environment.variables['X509_USER_PROXY'];
  if (named) return named;
  const own = environment.variables['X509_USER_CERT'] !== undefined;
  return grid !== undefined && !own ? grid.layout.user.proxy : defaultProxyFile(environment);
}

function proxy(file: string, from: string): Credential {
  return { kind: 'proxy', certificate: file, key: file, from };
}
