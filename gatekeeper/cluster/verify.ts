/**
 * A node is ready when it answers over the overlay: a ping, then an ssh login whose host key is the one that we made and
 * whose `hostname` is the node's name. Tried again and again until it does, or its time is up.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Duplex } from 'node:stream';
import ssh2 from 'ssh2';
import { GridError } from '../../src/domain/error.js';
import type { NodeSpec } from '../../src/domain/node.js';

/** The way to a cluster's nodes; Hub is one. */
export interface Reach {
  dial(address: string, port?: number): Duplex;
  ping(address: string, signal?: AbortSignal): Promise<boolean>;
}

export interface Login {
  readonly reach: Reach;
  readonly node: Pick<NodeSpec, 'name' | 'overlayAddress' | 'hostKeyPublic'>;
  /** OpenSSH private key that the node's authorized_keys has. */
  readonly key: string;
  readonly signal: AbortSignal;
}

const loginSeconds = 20;
const pauses = { first: 25, most: 400 }; // ms; sshd of a node that has just joined is there within a few of them

/** Resolves when the node has answered; rejects with the last failure after `seconds`, at once if it poses as another. */
export async function verifyNode(login: Login, seconds: number): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  for (let pause = pauses.first; ; pause = Math.min(pause * 2, pauses.most)) {
    const failure = await attempt(login);
    if (failure === undefined) return;
    if (login.signal.aborted) throw new GridError('interrupted', `verifying ${login.node.name} was interrupted`);
    if (failure.kind === 'not-authenticated' || Date.now() > deadline) throw failure;
    await sleep(pause, undefined, { signal: login.signal }).catch(() => {});
  }
}

/** Runs one command in a node as `user`; resolves with its output. @param input bytes for its standard input */
export async function runInNode(login: Login, command: { user: 'grid' | 'root'; line: string; input?: string }): Promise<string> {
  const { node } = login;
  const { client, leave } = await logIn(login, command.user);
  try {
    return await execute(client, command.line, command.input);
  } catch (error) {
    throw new GridError('unavailable', `${node.name} (${node.overlayAddress}) does not answer ssh: ${(error as Error).message}`, { cause: error });
  } finally {
    leave();
  }
}

/** An ssh connection to a node. `leave` ends it, and so does the signal. */
export interface NodeConnection {
  readonly client: ssh2.Client;
  leave(): void;
}

/** Logs in; rejects `unavailable`, or `not-authenticated` if the node has another host key than the one that we made. */
export async function logIn(login: Login, user: 'grid' | 'root', options: Pick<ssh2.ConnectConfig, 'keepaliveInterval' | 'keepaliveCountMax'> = {}): Promise<NodeConnection> {
  const { node, signal } = login;
  const client = new ssh2.Client();
  const expected = node.hostKeyPublic.split(' ')[1] ?? '';
  let impostor = false;
  const sock = login.reach.dial(node.overlayAddress);
  const stop = (): void => void client.destroy();
  const leave = (): void => {
    signal.removeEventListener('abort', stop);
    client.end();
    sock.destroy();
  };
  signal.addEventListener('abort', stop, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      client.once('ready', resolve);
      client.on('error', reject);
      client.once('close', () => reject(new Error('the connection closed')));
      sock.once('error', reject);
      client.connect({
        ...options,
        sock,
        username: user,
        privateKey: login.key,
        readyTimeout: loginSeconds * 1000,
        algorithms: { serverHostKey: ['ssh-ed25519'], kex: ['curve25519-sha256'], cipher: ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com', 'chacha20-poly1305@openssh.com'] },
        hostVerifier: (key: Buffer) => !(impostor = key.toString('base64') !== expected),
      });
    });
    return { client, leave };
  } catch (error) {
    leave();
    if (impostor) throw new GridError('not-authenticated', `${node.name} (${node.overlayAddress}) answers ssh with a host key that is not the one we made`);
    throw new GridError('unavailable', `${node.name} (${node.overlayAddress}) does not answer ssh: ${(error as Error).message}`, { cause: error });
  }
}

async function attempt(login: Login): Promise<GridError | undefined> {
  const { node, reach, signal } = login;
  try {
    if (!(await reach.ping(node.overlayAddress, signal))) return new GridError('unavailable', `${node.name} (${node.overlayAddress}) does not answer ping over the overlay`);
    const name = (await runInNode(login, { user: 'grid', line: 'hostname' })).trim();
    if (name !== node.name) return new GridError('not-authenticated', `${node.overlayAddress} says that its name is ${JSON.stringify(name.slice(0, 80))}, not ${node.name}`);
    return undefined;
  } catch (error) {
    return error instanceof GridError ? error : new GridError('unavailable', `${node.name} (${node.overlayAddress}): ${(error as Error).message}`, { cause: error });
  }
}

function execute(client: ssh2.Client, line: string, input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    client.once('close', () => reject(new Error('the connection closed'))); // after the resolve below it changes nothing
    client.exec(line, (error, channel) => {
      if (error) return reject(error);
      let output = '';
      channel.on('data', (chunk: Buffer) => (output = (output + chunk.toString('utf8')).slice(-65_536)));
      channel.stderr.resume();
      channel.once('close', (code: number | undefined) => (code === 0 ? resolve(output) : reject(new Error(`${line.split(' ')[0]} ended with ${code}`))));
      channel.end(input ?? '');
    });
  });
}
