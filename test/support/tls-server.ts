/**
 * A process of its own with the gatekeeper's real front door: serveGatekeeper, Authenticator and uploads, without clusters.
 * Arguments: a JSON object (certificate, key, trust, gridmap, bans: files; home: directory). Prints "port N". Each line on
 * standard input is answered by one JSON line: memory (bytes) after a garbage collection; at its end, it ends. GET /whoami answers with the caller.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Authenticator } from '../../gatekeeper/identity/authenticator.js';
import { serveGatekeeper } from '../../gatekeeper/server.js';
import type { GatekeeperServices } from '../../gatekeeper/soap.js';
import { diskUploads } from '../../gatekeeper/uploads.js';
import { makeLog } from '../../src/log.js';
import { peerChain, tlsServerOptions } from '../../src/pki/tls.js';
import { TrustDirectory } from '../../src/pki/trust-directory.js';

const { certificate, key, trust, gridmap, bans, home } = JSON.parse(process.argv[2] ?? '{}') as Record<string, string>;
if (!certificate || !key || !trust || !gridmap || !bans || !home) throw new Error('an argument lacks');
const log = makeLog('tls-server', 'silent');
const authenticator = new Authenticator(TrustDirectory.open(trust, log), { gridmap, bans }, log);
const none = new Proxy({}, { get: () => () => Promise.reject(new Error('there are no clusters here')) });
const server = await serveGatekeeper({
  host: '127.0.0.1',
  port: 0,
  tls: { ...tlsServerOptions, cert: readFileSync(certificate), key: readFileSync(key) },
  authenticate: (socket) => authenticator.authenticate(peerChain(socket), new Date()),
  services: { clusters: none, delegation: none, sites: none, fromRsl: () => ({}), fromElements: () => ({}) } as unknown as GatekeeperServices,
  uploads: diskUploads(home),
  dialer: none as never,
  extend: (app, identify) => void app.get('/whoami', async (request, response) => void response.json(await identify(request))),
  log,
});
console.log(`port ${server.port}`);
for await (const _ of createInterface({ input: process.stdin })) {
  for (let pass = 0; pass < 3; pass++) {
    (globalThis as { gc?: () => void }).gc?.();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  console.log(JSON.stringify({ rss: process.memoryUsage().rss, heap: process.memoryUsage().heapUsed }));
}
await server.close(0);
