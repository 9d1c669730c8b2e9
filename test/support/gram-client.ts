/** A GRAM client in JavaScript, for what the real ones never do: other flags, other delegations, other requests. */
import { createServer, connect as connectPlain, type Socket } from 'node:net';
import { once } from 'node:events';
import { connect } from 'node:tls';
import { ByteReader } from '../../gatekeeper/gram/byte-reader.js';
import { issueProxy, readRequest } from '../../src/pki/issue.js';
import { readPem, writePem } from '../../src/pki/pem.js';
import type { Person } from './gram-world.js';

export interface Asked {
  readonly port: number;
  readonly as: Person;
  /** '0', 'D' or '' for a request to a job. */
  readonly flag: '0' | 'D' | '';
  /** Signs the request (PEM) with a chain; default: as a real client would. */
  readonly sign?: (request: string) => Promise<string>;
  /** Everything from POST to the end. */
  readonly request: string;
}

/** The whole reply, as text; '' if the server just closed. */
export async function ask({ port, as, flag, sign, request }: Asked): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', cert: as.credential.chain, key: as.credential.key, rejectUnauthorized: false });
  const reader = new ByteReader(socket.on('error', () => undefined));
  const closed = once(socket, 'close');
  if (flag !== '') socket.write(flag);
  if (flag === 'D') {
    const csr = await reader.derSequence(4096);
    const chain = await (sign ?? delegate(as))(writePem('CERTIFICATE REQUEST', csr));
    socket.write(readPem(chain)[0]?.der ?? '');
  }
  socket.write(request);
  await closed;
  return (await reader.rest(1 << 20).catch(() => Buffer.alloc(0))).toString('latin1');
}

/** Signs a request with the person's own proxy, as globusrun does: limited. */
export function delegate(person: Person, limited = true): (request: string) => Promise<string> {
  return async (request) => (await issueProxy({ issuer: { certificate: person.credential.chain, key: person.credential.key }, publicKey: (await readRequest(request)).publicKey, notAfter: new Date(Date.now() + 3_600_000), limited })).chain;
}

/** A request with this body and a right Content-Length. */
export function post(target: string, body: string): string {
  return `POST ${target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-globus-gram\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

export const submitBody = (rsl: string, callback = ''): string => `protocol-version: 2\r\njob-state-mask: 1048575\r\ncallback-url: ${callback === '' ? '""' : callback}\r\nrsl: "${rsl.replace(/["\\]/g, '\\$&')}"\r\n\0`;

/** A relay to `port` that passes the client's bytes on one by one, `pause(n)` ms before the n-th. @returns its port and its end */
export async function slowRelay(port: number, pause: (n: number) => number): Promise<{ port: number; close: () => void }> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const there = connectPlain(port, '127.0.0.1');
    sockets.add(client).add(there);
    for (const each of [client, there]) each.setNoDelay(true).on('error', () => undefined);
    there.pipe(client);
    there.on('close', () => client.destroy());
    void (async () => {
      let n = 0;
      for await (const chunk of client as AsyncIterable<Buffer>) {
        for (const byte of chunk) {
          const wait = pause(n++);
          if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
          if (there.destroyed) return;
          there.write(Buffer.from([byte]));
        }
      }
      there.end();
    })().catch(() => undefined);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    close: () => {
      server.close();
      for (const each of sockets) each.destroy();
    },
  };
}
