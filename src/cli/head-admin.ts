/**
 * The connection of an administrator to one head (wsdl/admin.wsdl). Who signs in, in this order:
 *   --head-url URL     a listed administrator, from anywhere, with the user's own credential
 *   --head FILE        root on the head's machine: address, certificate, key and trust are those of the head's configuration
 *   --site NAME        the head of the grid on this machine (its first site if none is named), by its configuration
 *   /etc/gridvc/head.yaml
 */
import { existsSync, readFileSync } from 'node:fs';
import { GridError } from '../domain/error.js';
import { parseHeadConfig } from '../head/config.js';
import { readCertificate } from '../pki/certificate.js';
import { certificatesOf } from '../pki/pem.js';
import type { services } from '../soap/contract.js';
import type { ClientOptions } from '../soap/https-client.js';
import { HttpsClient } from '../soap/https-client.js';
import { SoapClient } from '../soap/client.js';
import type { HeadOptions } from './commands/declare.js';
import { readIdentity } from './connect.js';
import { embeddedGrid, findCredential, findTrust, stateHome, thisEnvironment, type Environment } from './settings.js';
import { findGrid } from './grid/state.js';
import { note } from './terminal.js';

const usualConfig = '/etc/gridvc/head.yaml';

export type HeadAdminClient = SoapClient<(typeof services)['admin']['operations']>;

/** Calls `work` with a signed-in client and closes its connections. Says on standard error which site's head was taken if nothing named it. */
export async function withHead<T>(options: HeadOptions, work: (head: HeadAdminClient) => Promise<T>): Promise<T> {
  const { services } = await import('../soap/contract.js');
  const http = new HttpsClient(findHead(options, thisEnvironment()));
  try {
    return await work(new SoapClient(services.admin, http));
  } finally {
    http.close();
  }
}

/** Address and TLS of the head that the options mean. @throws bad-request for contradictory options, not-found if there is no such head */
export function findHead(options: HeadOptions, environment: Environment): ClientOptions {
  const { headUrl, head, site } = options;
  if ([headUrl, head, site].filter((each) => each !== undefined).length > 1) throw new GridError('bad-request', '--head-url, --head and --site name different heads', { hint: 'give one of them' });
  if (headUrl !== undefined) {
    if (!URL.canParse(headUrl) || new URL(headUrl).protocol !== 'https:') throw new GridError('bad-request', `"${headUrl}" is not an https URL`, { hint: 'like https://head.alpha.example.org:8451' });
    const grid = embeddedGrid(environment);
    return { url: headUrl, tls: readIdentity(findCredential(environment, grid), findTrust(environment, grid)) };
  }
  return asHead(head ?? configOf(site, environment));
}

/** Of the grid on this machine, else the usual place. */
function configOf(site: string | undefined, environment: Environment): string {
  const grid = findGrid(stateHome(environment));
  if (grid === undefined) {
    if (site !== undefined) throw new GridError('not-found', `no embedded grid is here, so --site ${site} names nothing`, { hint: 'name the head: --head FILE on its machine, or --head-url URL' });
    return usualConfig;
  }
  const sites = grid.layout.sites;
  const found = site === undefined ? sites[0] : sites.find((each) => each.site === site);
  if (found === undefined) throw new GridError('not-found', `the grid on this machine has no site ${JSON.stringify(site)}`, { hint: `it has: ${sites.map((each) => each.site).join(', ')}` });
  if (site === undefined && sites.length > 1) note(`the head of site ${found.site} (others with --site: ${sites.slice(1).map((each) => each.site).join(', ')})`);
  return found.config;
}

/** As the head itself: whoever may read its key is its administrator. */
function asHead(file: string): ClientOptions {
  const config = parseHeadConfig(read(file), file);
  const tls = readIdentity({ kind: 'certificate', certificate: config.certificate, key: config.key, from: file }, config.trust);
  const subject = subjectOf(certificatesOf(tls.cert)[0]);
  const host = ['0.0.0.0', '::'].includes(config.listen.host) ? '127.0.0.1' : config.listen.host;
  const checkServer = (certificate: Uint8Array): Error | undefined => {
    const answers = subjectOf(certificate);
    return answers === subject ? undefined : new Error(`it is ${answers}, but ${file} names the certificate of ${subject}`);
  };
  return { url: `https://${host.includes(':') ? `[${host}]` : host}:${config.listen.port}`, tls: { ...tls, checkServer } };
}

function subjectOf(der: Uint8Array | undefined): string {
  return der === undefined ? '' : readCertificate(der).subject;
}

function read(file: string): string {
  if (!existsSync(file)) throw new GridError('not-found', `there is no head's configuration ${file}`, { hint: 'on the head\'s machine give --head FILE; from elsewhere --head-url https://HEAD:8451, with the credential of one of its administrators' });
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new GridError('not-authorized', `${file} cannot be read: ${(error as Error).message}`, { hint: 'be root, or one of the head\'s administrators with --head-url' });
  }
}
