/**
 * The management interface of one openvpn server over its unix socket: commands one at a time, answers as lines.
 * openvpn serves one such client; whoever holds this connection learns at once when the server dies (`closed`).
 */
import { connect, type Socket } from 'node:net';
import { GridError } from '../../src/domain/error.js';

export interface Management {
  /** Lines of the answer; a single-line answer without its SUCCESS prefix. Rejects on ERROR and when the server dies. */
  command(text: string): Promise<readonly string[]>;
  /** Resolves when the connection ended, from whichever side. */
  readonly closed: Promise<void>;
  close(): void;
}

export interface ConnectedClient {
  /** Common name: <node>.<cluster>. */
  readonly name: string;
  /** Overlay address. */
  readonly address: string;
}

/** Connects, or rejects with the socket's own error. */
export async function openManagement(path: string): Promise<Management> {
  const socket = await connected(path);
  const waiting: { lines: string[]; resolve(lines: readonly string[]): void; reject(error: Error): void }[] = [];
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk: string) => {
    const parts = (rest + chunk).split(/\r?\n/);
    rest = parts.pop() ?? '';
    for (const line of parts) if (!line.startsWith('>')) take(line);
  });
  socket.on('error', () => {}); // 'close' follows and tells everyone
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      for (const one of waiting.splice(0)) one.reject(new GridError('unavailable', `the hub's management socket ${path} closed`));
      resolve();
    });
  });

  function take(line: string): void {
    const current = waiting[0];
    if (current === undefined) return;
    const single = /^(SUCCESS|ERROR): ?(.*)$/.exec(line);
    if (current.lines.length === 0 && single) {
      waiting.shift();
      if (single[1] === 'SUCCESS') current.resolve([single[2] ?? '']);
      else current.reject(new GridError('internal', `the hub refused a management command: ${single[2]}`));
    } else if (line === 'END') {
      waiting.shift();
      current.resolve(current.lines);
    } else {
      current.lines.push(line);
    }
  }

  return {
    closed,
    close: () => socket.destroy(),
    command: (text) =>
      new Promise((resolve, reject) => {
        if (socket.destroyed) return reject(new GridError('unavailable', `the hub's management socket ${path} is closed`));
        waiting.push({ lines: [], resolve, reject });
        socket.write(`${text}\n`);
      }),
  };
}

/**
 * Reads the answer to `status 3` (tab separated; the header line names the columns, which differ between versions).
 * Returns the clients that are in: one that was refused stays in openvpn's list a while, without an address.
 */
export function parseStatus(status: readonly string[]): readonly ConnectedClient[] {
  const header = status.find((line) => line.startsWith('HEADER\tCLIENT_LIST\t'))?.split('\t').slice(1);
  const name = header?.indexOf('Common Name') ?? -1;
  const address = header?.indexOf('Virtual Address') ?? -1;
  if (name < 0 || address < 0) throw new GridError('internal', 'the hub answered `status 3` in a form that is not known');
  return status
    .filter((line) => line.startsWith('CLIENT_LIST\t'))
    .map((line) => line.split('\t'))
    .map((fields) => ({ name: fields[name] ?? '', address: fields[address] ?? '' }))
    .filter((client) => client.name !== 'UNDEF' && client.address !== '');
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
