/** `gridvc proxy delegate`: the gatekeeper gets a proxy of its own, so that a lease may outlive the one we sign in with. */
import { issueProxy, readRequest } from '../pki/issue.js';
import type { CommonOptions } from './commands/cluster.js';
import type { InitOptions } from './commands/proxy.js';
import { connect } from './connect.js';
import { chooseSource, openIssuer } from './proxy.js';
import { embeddedGrid, findUserCertificate, thisEnvironment, type Credential, type Environment } from './settings.js';
import { print, printJson } from './terminal.js';

const hour = 3_600_000;

/**
 * The key is made on the gatekeeper and never leaves it; we sign its request with the user certificate, since a
 * proxy could not give more time than it has itself. Without one the proxy must do.
 */
export async function delegate(options: CommonOptions & Pick<InitOptions, 'cert' | 'key' | 'pwstdin'> & { readonly hours: number }): Promise<void> {
  const environment = thisEnvironment();
  const { client, tls } = await connect(options, environment);
  const source = chooseSource(options, () => userCertificate(environment, options.gatekeeper));
  const issuer = source === undefined ? { certificate: tls.cert, key: tls.key } : await openIssuer(source, options.pwstdin === true);
  const { id, request } = await client.requestDelegation();
  const { publicKey } = await readRequest(request);
  const { chain } = await issueProxy({ issuer, publicKey, notAfter: new Date(Date.now() + options.hours * hour) });
  const answer = await client.putDelegation(id, chain);
  if (options.json === true) printJson(answer);
  else print(`the gatekeeper may act for you until ${answer.notAfter}`);
}

function userCertificate(environment: Environment, gatekeeper: string | undefined): Credential | undefined {
  try {
    return findUserCertificate(environment, embeddedGrid(environment, gatekeeper));
  } catch {
    return undefined;
  }
}
