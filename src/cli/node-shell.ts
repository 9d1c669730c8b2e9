/** Commands on nodes: ssh2 over the gatekeeper's tunnel, with the node's key checked against what the gatekeeper vouches for. */
import { Readable } from 'node:stream';
import ssh2, { type Client, type ClientChannel } from 'ssh2';
import { GridError } from '../domain/error.js';
import type { AccessView } from '../domain/views.js';
import { isKnown, knownKeys } from '../node/known-hosts.js';
import { logIn } from '../node/ssh-login.js';
import { LineCutter } from '../proc/output.js';
import type { ClusterClient } from '../soap/client.js';

export interface NodeCommand {
  readonly client: ClusterClient;
  readonly cluster: string;
  readonly access: AccessView;
  readonly node: string;
  readonly privateKey: string;
  /** Default: the login user. */
  readonly user?: string;
  /** A line for the login shell of the node. */
  readonly command: string;
  readonly input?: string | Uint8Array | Readable;
  readonly onLine?: (line: string, from: 'stdout' | 'stderr') => void;
  readonly signal?: AbortSignal;
}

const readySeconds = 20;

/** Runs it to its end. @returns its exit code (128 + 15 if a signal ended it); unavailable if the node cannot be reached */
export async function runOnNode(options: NodeCommand): Promise<number> {
  const socket = await options.client.tunnel(options.cluster, options.node, options.signal === undefined ? {} : { signal: options.signal });
  const connection = new ssh2.Client();
  const abort = (): void => void connection.destroy();
  options.signal?.addEventListener('abort', abort, { once: true });
  try {
    const keys = knownKeys(options.access.knownHosts, options.node, 22);
    await logIn(connection, {
      sock: socket,
      username: options.user ?? options.access.loginUser,
      privateKey: options.privateKey,
      readyTimeout: readySeconds * 1000,
      algorithms: { serverHostKey: ['ssh-ed25519'] },
      hostVerifier: (shown: Buffer) => isKnown(keys, shown),
    }, 'the connection was closed');
    return await execute(connection, options);
  } catch (error) {
    if (options.signal?.aborted) throw new GridError('interrupted', `the command on ${options.node} was interrupted`, { cause: error });
    if (error instanceof GridError) throw error;
    throw new GridError('unavailable', `no ssh to node ${options.node} of ${options.cluster}: ${(error as Error).message}`, { hint: `gridvc show ${options.cluster}`, cause: error });
  } finally {
    options.signal?.removeEventListener('abort', abort);
    connection.end();
    socket.destroy();
  }
}

function execute(connection: Client, options: NodeCommand): Promise<number> {
  return new Promise((resolve, reject) => {
    connection.once('close', () => reject(new Error('the connection was closed while the command ran')));
    connection.exec(options.command, (error, channel: ClientChannel) => {
      if (error !== undefined) return reject(error);
      const out = new LineCutter((line) => options.onLine?.(line, 'stdout'));
      const err = new LineCutter((line) => options.onLine?.(line, 'stderr'));
      let code = 128 + 15;
      channel.on('data', (chunk: Buffer) => out.add(chunk));
      channel.stderr.on('data', (chunk: Buffer) => err.add(chunk));
      channel.on('exit', (status: number | null) => (code = status ?? code));
      channel.on('close', () => {
        out.end();
        err.end();
        resolve(code);
      });
      if (options.input instanceof Readable) options.input.pipe(channel);
      else channel.end(options.input ?? '');
    });
  });
}
