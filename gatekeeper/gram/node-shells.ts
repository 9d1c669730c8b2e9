/**
 * Commands on the nodes of clusters, as the login user, over the overlay. The ssh connections to a node are kept a while
 * and shared: a login costs a hundred times what a command on an open connection does.
 */
import type { Readable } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { GridError } from '../../src/domain/error.js';
import type { SecretFiles } from '../../src/store/secrets.js';
import type { Material } from '../cluster/material.js';
import { logIn, type NodeConnection, type Reach } from '../cluster/verify.js';

/** How a command ended: with a code, by a signal, or (neither) with the connection. */
export interface CommandEnd {
  readonly code?: number;
  readonly signal?: string;
}

export interface NodeCommand {
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly ended: Promise<CommandEnd>;
  /** Closes the channel; what runs detached runs on. */
  close(): void;
}

interface Line {
  readonly connection: Promise<NodeConnection>;
  sessions: number;
  open: boolean;
  idle: NodeJS.Timeout | undefined;
}

const sessionsPerLine = 60; // sshd of a node takes 100
const idleMilliseconds = 15_000;
const mostOutput = 64 * 1024;

export class NodeShells {
  private readonly lines = new Map<string, Line[]>();
  private readonly stop = new AbortController();

  constructor(
    private readonly hubOf: (cluster: string) => Reach | undefined,
    private readonly secrets: Pick<SecretFiles<Material>, 'read'>,
  ) {}

  /** Starts a line of shell. @param input its whole standard input. Rejects `unavailable` if the node cannot be reached. */
  async start(cluster: string, node: string, line: string, input?: Uint8Array): Promise<NodeCommand> {
    const shared = this.line(cluster, node);
    shared.sessions++;
    clearTimeout(shared.idle);
    let over = false;
    const free = (): void => {
      if (over) return;
      over = true;
      if (--shared.sessions === 0) this.rest(shared);
    };
    try {
      const { client } = await shared.connection;
      const { channel, ended } = await new Promise<{ channel: ClientChannel; ended: Promise<CommandEnd> }>((resolve, reject) => {
        const broken = (): void => reject(new GridError('unavailable', `the ssh connection to ${node} of ${cluster} broke off`));
        client.once('close', broken);
        client.exec(line, (error, opened) => {
          client.off('close', broken);
          if (error) reject(new GridError('unavailable', `${node} of ${cluster} starts no command: ${error.message}`));
          else resolve({ channel: opened, ended: endOf(opened, client) }); // at once: a quick command's end may come in the same packet
        });
      });
      void ended.then(free);
      channel.end(input ?? '');
      return { stdout: channel, stderr: channel.stderr, ended, close: () => void channel.close() };
    } catch (error) {
      free();
      throw error;
    }
  }

  /** Runs it to its end: code, standard output and error, each cut to its last 64 KiB. */
  async run(cluster: string, node: string, line: string, input?: Uint8Array): Promise<{ code: number; stdout: string; stderr: string }> {
    const command = await this.start(cluster, node, line, input);
    const [stdout, stderr, { code, signal }] = await Promise.all([textOf(command.stdout), textOf(command.stderr), command.ended]);
    if (code === undefined && signal === undefined) throw new GridError('unavailable', `the ssh connection to ${node} of ${cluster} broke off`);
    return { code: code ?? 128, stdout, stderr };
  }

  close(): void {
    this.stop.abort();
    for (const line of [...this.lines.values()].flat()) clearTimeout(line.idle);
  }

  private line(cluster: string, node: string): Line {
    const key = `${cluster}/${node}`;
    const lines = (this.lines.get(key) ?? []).filter(({ open }) => open);
    const free = lines.find(({ sessions }) => sessions < sessionsPerLine);
    if (free) return free;
    const made: Line = { connection: this.connect(cluster, node), sessions: 0, open: true, idle: undefined };
    const gone = (): void => {
      made.open = false;
      const left = (this.lines.get(key) ?? []).filter((line) => line !== made);
      if (left.length > 0) this.lines.set(key, left);
      else this.lines.delete(key);
    };
    made.connection.then(({ client }) => client.once('close', gone), gone);
    this.lines.set(key, [...lines, made]);
    return made;
  }

  private async connect(cluster: string, node: string): Promise<NodeConnection> {
    const reach = this.hubOf(cluster);
    const material = await this.secrets.read(cluster);
    const spec = material?.nodes.find(({ name }) => name === node);
    if (reach === undefined || material === undefined || spec === undefined) throw new GridError('unavailable', `there is no way to ${node} of ${cluster} now: its hub is not running`);
    const connection = await logIn({ reach, node: spec, key: material.clusterKey, signal: this.stop.signal }, 'grid', { keepaliveInterval: 10_000, keepaliveCountMax: 3 });
    connection.client.setMaxListeners(0).once('close', () => connection.leave());
    return connection;
  }

  private rest(line: Line): void {
    line.idle = setTimeout(() => {
      line.open = false; // who comes now opens another
      void line.connection.then(({ leave }) => leave()).catch(() => {});
    }, idleMilliseconds).unref();
  }
}

function endOf(channel: ClientChannel, client: NodeConnection['client']): Promise<CommandEnd> {
  return new Promise((resolve) => {
    let end: CommandEnd = {};
    const done = (): void => {
      client.off('close', lost);
      resolve(end);
    };
    const lost = (): void => {
      channel.destroy();
      done();
    };
    channel.on('error', () => {});
    channel.stderr.on('error', () => {});
    channel.once('exit', (code: number | null, signal?: string) => (end = code === null ? { signal: signal ?? 'unknown' } : { code }));
    channel.once('close', done);
    client.once('close', lost);
  });
}

async function textOf(stream: Readable): Promise<string> {
  let text = '';
  try {
    for await (const chunk of stream) text = (text + (chunk as Buffer).toString('utf8')).slice(-mostOutput);
  } catch {
    // it broke off: `ended` says so
  }
  return text;
}
