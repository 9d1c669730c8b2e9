/**
 * A compute host over ssh. One kept connection, at most eight channels on it (OpenSSH allows ten),
 * connected anew when it was lost. The host's key must be in the known_hosts file. Deadlines are
 * kept on the far side too (coreutils `timeout`), so a lost connection leaves nothing running for long.
 */
import { readFile, stat } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import ssh2, { type CipherAlgorithm, type Client, type ServerHostKeyAlgorithm } from 'ssh2';
import { AnswerUnknown, GridError } from '../domain/error.js';
import type { CommandResult, NodeTransport, PutOptions, RunOptions } from '../ports.js';
import { commandPath } from '../proc/command.js';
import { BoundedText, lastLine } from '../proc/output.js';
import { CheckedFile, wrongDigest } from './checked-file.js';
import { isKnown, knownKeys } from './known-hosts.js';
import { quoteCommand } from './quote.js';
import { execOn, feedChannel, isRefusal, pidMark, takePid, type Running } from './ssh-channel.js';
import { logIn } from './ssh-login.js';

/** The one that processors have instructions for first: layers travel a fifth faster than with ssh2's own first choice. */
const ciphers: CipherAlgorithm[] = ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com', 'chacha20-poly1305@openssh.com', 'aes128-ctr', 'aes256-ctr'];
const outputLimit = 8 * 1024 * 1024;
const maxChannels = 8;
const connectSeconds = 20; // a dom0 without a processor to spare
const endScript = 'kill -s TERM -- "-$1" 2>/dev/null; for i in 1 2 3 4 5 6 7 8 9 10; do kill -s 0 -- "-$1" 2>/dev/null || exit 0; sleep 0.2; done; kill -s KILL -- "-$1" 2>/dev/null; exit 0';

export interface SshOptions {
  readonly host: string;
  readonly address: string;
  readonly port: number;
  readonly user: string;
  /** Private key file, read at each connect. */
  readonly key: string;
  /** The host's own key: a known_hosts file, read at each connect, or a public key's line. */
  readonly knownHosts?: string;
  readonly hostKey?: string;
}

/** Writes stdin beside the target, syncs and renames it, once it has so many bytes. Arguments: target, staged name, octal mode, bytes. */
const receiveScript = `set -e; umask 077; mkdir -p "$(dirname "$1")"; trap 'rm -f "$2"' EXIT
cat > "$2"
[ "$(stat -c %s "$2")" = "$4" ] || { echo "only $(stat -c %s "$2") of $4 bytes came" >&2; exit 1; }
chmod "$3" "$2"; sync "$2"; mv -f "$2" "$1"`;

export class SshTransport implements NodeTransport {
  readonly host: string;
  private connection: Promise<Client> | undefined;
  private free = maxChannels;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly options: SshOptions) {
    this.host = options.host;
  }

  async run(argv: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
    const seconds = options.seconds ?? 60;
    const command = quoteCommand(['env', `PATH=${commandPath}`, 'LC_ALL=C', 'timeout', '--kill-after=2', String(seconds), ...argv]);
    await this.acquire();
    try {
      this.refuseIfAborted(argv, options.signal);
      const started = performance.now();
      // The first line on stderr is the pid of the command's group: OpenSSH passes no signals for root.
      const running = await this.openChannel(`echo ${pidMark}$$ >&2; exec ${command}`);
      return await this.finish(running, argv, { ...options, seconds }, started);
    } finally {
      this.release();
    }
  }

  async putFile(local: string, remote: string, options: PutOptions = {}): Promise<{ bytes: number }> {
    const { size } = await stat(local).catch((cause: unknown) => {
      throw new GridError('not-found', `${local} is to be copied to ${this.host} but cannot be read`, { cause });
    });
    const staged = `${remote}.${randomBytes(6).toString('hex')}.part`;
    const argv = ['sh', '-c', receiveScript, 'receive', remote, staged, (options.mode ?? 0o644).toString(8), String(size)];
    const file = new CheckedFile(local, options.digest);
    const result = await this.run(argv, { input: file, seconds: 3600, ...(options.signal ? { signal: options.signal } : {}) });
    if (result.code === 0 && !file.wrong) return { bytes: size };
    const kind = result.stderr.includes('No space left') ? 'disk-full' : 'unavailable';
    throw new GridError(kind, `${local} could not be copied to ${this.host}:${remote}: ${file.wrong ? wrongDigest : result.reason}`);
  }

  async close(): Promise<void> {
    const connection = this.connection;
    this.connection = undefined;
    const client = await connection?.catch(() => undefined);
    if (!client) return;
    await new Promise<void>((resolve) => {
      client.once('close', resolve);
      client.end();
      setTimeout(() => (client.destroy(), resolve()), 1000).unref();
    });
  }

  // -------------------------------------------------------------- connection

  private connected(): Promise<Client> {
    this.connection ??= this.connect().catch((error: unknown) => {
      this.connection = undefined;
      throw error;
    });
    return this.connection;
  }

  private async connect(): Promise<Client> {
    const { address, port, user, hostKey, knownHosts = '' } = this.options;
    const source = hostKey === undefined ? knownHosts : 'its registration';
    const [privateKey, known] = await Promise.all([readFile(this.options.key), hostKey === undefined ? readFile(knownHosts, 'utf8') : `* ${hostKey}`]).catch((cause: Error) => {
      throw new GridError('unavailable', `host ${this.host}: ${cause.message}`, { cause });
    });
    const keys = knownKeys(known, address, port);
    if (keys.length === 0) {
      throw new GridError('unavailable', `host ${this.host}: ${address} port ${port} is not in ${source}`, { hint: `ssh-keyscan -p ${port} ${address}, compare the key with the host's own, add it` });
    }
    const client = new ssh2.Client();
    let refusedKey = false;
    await logIn(client, {
      host: address, port, username: user, privateKey,
      readyTimeout: connectSeconds * 1000, keepaliveInterval: 15_000, keepaliveCountMax: 4, // a dom0 that is busy for half a minute is not away
      algorithms: { serverHostKey: algorithmsFor(keys.map((key) => key.type)), cipher: ciphers },
      hostVerifier: (shown: Buffer) => !(refusedKey = !isKnown(keys, shown)),
    }, 'it closed the connection').catch((cause: Error) => {
      throw this.unreachable(refusedKey ? `its key is not the one in ${source}` : cause.message, cause);
    });
    const forget = (): void => void (this.connection = undefined);
    client.on('close', forget).on('end', forget).on('error', forget);
    return client;
  }

  /** A kept connection may have died unnoticed: opening a channel is tried once more on a fresh one. */
  private async openChannel(command: string): Promise<Running> {
    const kept = this.connection !== undefined;
    const client = await this.connected();
    try {
      return await execOn(client, command);
    } catch (error) {
      if (!kept || isRefusal(error)) throw this.unreachable((error as Error).message, error);
      this.connection = undefined;
      client.destroy();
      return execOn(await this.connected(), command).catch((cause: unknown) => {
        throw this.unreachable((cause as Error).message, cause);
      });
    }
  }

  private async finish({ channel, end }: Running, argv: readonly string[], options: RunOptions & { seconds: number }, started: number): Promise<CommandResult> {
    const out = new BoundedText(outputLimit);
    const err = new BoundedText(outputLimit);
    const closed = new Promise<void>((resolve) => channel.once('close', resolve));
    channel.on('data', (chunk: Buffer) => out.add(chunk));
    const group = new Promise<string>((resolve) => takePid(channel, (rest) => err.add(rest), resolve));
    const onAbort = (): void => void group.then((pid) => this.endGroup(pid)).catch(() => channel.close());
    options.signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.all([feedChannel(channel, options.input), closed]);
    } finally {
      options.signal?.removeEventListener('abort', onAbort);
    }
    this.refuseIfAborted(argv, options.signal);
    const { exit } = end;
    if (!exit) throw new AnswerUnknown(`host ${this.host} (${this.options.user}@${this.options.address} port ${this.options.port}): the connection was lost while ${argv[0]} ran`);
    const seconds = (performance.now() - started) / 1000;
    const late = seconds >= options.seconds && (exit.code === 124 || exit.code === 137 || exit.code === undefined);
    const stderr = err.text();
    const code = late ? undefined : exit.code;
    return { argv, code, stdout: out.text(), stderr, seconds, reason: this.explain(argv, code, late, exit.signal, options.seconds, stderr) };
  }

  /** Over a channel of its own, which need not wait for a free one: OpenSSH allows ten, we use eight. */
  private async endGroup(pid: string): Promise<void> {
    const { channel } = await this.openChannel(quoteCommand(['sh', '-c', endScript, 'end', pid]));
    channel.resume();
    channel.stderr.resume();
    channel.end();
    await new Promise((resolve) => channel.once('close', resolve));
  }

  private explain(argv: readonly string[], code: number | undefined, late: boolean, signal: string | undefined, limit: number, stderr: string): string {
    if (code === 0) return '';
    if (late) return `${argv[0]} on ${this.host} did not finish within ${limit} s`;
    const last = lastLine(stderr);
    return `${argv[0]} on ${this.host} ${code === undefined ? `was ended by ${signal ?? 'a signal'}` : `ended with code ${code}`}${last === '' ? '' : `: ${last}`}`;
  }

  private unreachable(why: string, cause?: unknown): GridError {
    return new GridError('unavailable', `host ${this.host} (${this.options.user}@${this.options.address} port ${this.options.port}) cannot be used: ${why}`, { cause });
  }

  private refuseIfAborted(argv: readonly string[], signal: AbortSignal | undefined): void {
    if (signal?.aborted) throw new GridError('interrupted', `${argv[0]} on ${this.host} was interrupted`);
  }

  // -------------------------------------------------------------- channels

  private async acquire(): Promise<void> {
    if (this.free > 0) {
      this.free -= 1;
      return;
    }
    await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  private release(): void {
    const next = this.waiting.shift();
    if (next) next();
    else this.free += 1;
  }
}

function algorithmsFor(types: readonly string[]): ServerHostKeyAlgorithm[] {
  const all = types.flatMap((type) => (type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type]));
  return [...new Set(all)] as ServerHostKeyAlgorithm[];
}
