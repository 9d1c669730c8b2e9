/** One command on one channel of an ssh connection: begun, fed, its process group and its end told. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client, ClientChannel } from 'ssh2';
import type { RunOptions } from '../ports.js';

/** A command says the id of its process group behind this, on the first line of stderr. */
export const pidMark = 'gridvc-pid:';
const longestRefusal = 2560; // ms, five seconds in all

/** A command on its way. */
export interface Running {
  readonly channel: ClientChannel;
  /** Filled when the host tells how the command ended. */
  readonly end: { exit?: { readonly code: number | undefined; readonly signal?: string } };
}

/** The host is there and opens no channel: it still counts those that have just ended (sshd's MaxSessions). */
export function isRefusal(error: unknown): boolean {
  return typeof (error as { reason?: unknown }).reason === 'number'; // RFC 4254 section 5.1
}

/** A refusal is no reason to give the connection up, on which others' commands run: the same again, soon. */
export async function execOn(client: Client, command: string): Promise<Running> {
  for (let pause = 10; ; pause *= 2) {
    try {
      return await execOnce(client, command);
    } catch (error) {
      if (!isRefusal(error) || pause > longestRefusal) throw error;
      await sleep(pause);
    }
  }
}

/** Who listens only once the promise is settled misses the end of a quick command: it may have come in the same packet as the beginning. */
function execOnce(client: Client, command: string): Promise<Running> {
  return new Promise((resolve, reject) => {
    const lost = (): void => reject(new Error('the connection was lost'));
    client.once('close', lost);
    try {
      client.exec(command, (error, channel) => {
        client.off('close', lost);
        if (error) return reject(error);
        const end: Running['end'] = {};
        channel.on('exit', (code: number | null, signal?: string) => (end.exit = { code: code ?? undefined, ...(signal ? { signal } : {}) }));
        resolve({ channel, end });
      });
    } catch (error) {
      client.off('close', lost);
      reject(error as Error);
    }
  });
}

/** Cuts the line with the pid out of stderr; all else goes on. */
export function takePid(channel: ClientChannel, onRest: (chunk: Buffer) => void, onPid: (pid: string) => void): void {
  let seen: Buffer | undefined = Buffer.alloc(0);
  channel.stderr.on('data', (chunk: Buffer) => {
    if (seen === undefined) return onRest(chunk);
    seen = Buffer.concat([seen, chunk]);
    const text = seen.toString('latin1');
    const found = new RegExp(`${pidMark}(\\d+)\n`).exec(text);
    if (found?.[1] === undefined) return;
    onRest(Buffer.from(text.slice(0, found.index) + text.slice(found.index + found[0].length), 'latin1'));
    seen = undefined;
    onPid(found[1]);
  });
  channel.once('close', () => {
    if (seen !== undefined) onRest(seen);
  });
}

export async function feedChannel(channel: ClientChannel, input: RunOptions['input']): Promise<void> {
  channel.on('error', () => undefined);
  if (input === undefined || typeof input === 'string' || input instanceof Uint8Array) {
    channel.end(input ?? '');
    return;
  }
  // A command that ends without reading its input closes the channel: that is its own business.
  await pipeline(Readable.from(input, { objectMode: false }), channel.stdin as NodeJS.WritableStream).catch(() => channel.close());
}
