/** `gridvc proxy delegate`: the gatekeeper gets a proxy of its own, so that a lease may outlive the one we sign in with. */
import { issueProxy, readRequest } from '../pki/issue.js';
import type { CommonOptions } from './commands/cluster.js';
import { connect } from './connect.js';
import { print, printJson } from './terminal.js';

const hour = 3_600_000;

/** The key is made on the gatekeeper and never leaves it; we sign its request, for no longer than our own certificate lives. */
export async function delegate(options: CommonOptions & { readonly hours: number }): Promise<void> {
  const { client, tls } = await connect(options);
  const { id, request } = await client.requestDelegation();
  const { publicKey } = await readRequest(request);
  const { chain } = await issueProxy({ issuer: { certificate: tls.cert, key: tls.key }, publicKey, notAfter: new Date(Date.now() + options.hours * hour) });
  const answer = await client.putDelegation(id, chain);
  if (options.json === true) printJson(answer);
  else print(`the gatekeeper may act for you until ${answer.notAfter}`);
}
