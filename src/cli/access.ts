/** The actions ssh, exec, vpn, put and tunnel. */
import { createReadStream, statSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { GridError } from '../domain/error.js';
import { checkName } from '../domain/names.js';
import { quoteCommand } from '../node/quote.js';
import { runInteractive } from '../proc/interactive.js';
import type { CommonOptions } from './commands/cluster.js';
import { connect } from './connect.js';
import { writeWhole } from './files.js';
import { onInterrupt } from './interrupt.js';
import { runOnNode } from './node-shell.js';
import { exitCodes, note, print, printJson } from './terminal.js';
import { userKey, writeKnownHosts } from './user-key.js';

export async function ssh(id: string, node: string, words: readonly string[], options: CommonOptions & { readonly login?: string }): Promise<number> {
  checkName('cluster', id);
  checkName('node', node);
  const { client } = await connect(options);
  const access = await client.getAccess(id);
  if (!access.nodes.some(({ name }) => name === node)) throw noSuchNode(id, node, access.nodes.map(({ name }) => name));
  const known = writeKnownHosts(id, access.knownHosts);
  client.close();
  return runInteractive(sshWords({ id, node, words, known, key: userKey().file, user: options.login ?? access.loginUser, gatekeeper: options.gatekeeper }));
}

/**
 * The OpenSSH command line. ssh gives "exec " + ProxyCommand to a shell after replacing %-tokens, so each word of it is
 * quoted for a shell and its % are doubled; values of -o are quoted for ssh's own reader.
 */
export function sshWords(options: { id: string; node: string; words: readonly string[]; known: string; key: string; user: string; gatekeeper?: string | undefined }): string[] {
  const tunnel = [process.execPath, join(import.meta.dirname, 'main.js'), 'tunnel', ...(options.gatekeeper === undefined ? [] : ['--gatekeeper', options.gatekeeper]), options.id, options.node];
  const set = (name: string, value: string): string[] => ['-o', `${name}=${value}`];
  const inner = (value: string): string => `"${value.replaceAll(/["\\]/g, '\\$&').replaceAll('%', '%%')}"`;
  return [
    'ssh',
    ...['-F', '/dev/null', '-i', options.key],
    ...set('IdentitiesOnly', 'yes'),
    ...set('UserKnownHostsFile', inner(options.known)),
    ...set('GlobalKnownHostsFile', '/dev/null'),
    ...set('StrictHostKeyChecking', 'yes'),
    ...set('UpdateHostKeys', 'no'),
    ...set('LogLevel', 'ERROR'),
    ...set('HostKeyAlias', options.node),
    ...set('ProxyCommand', quoteCommand(tunnel).replaceAll('%', '%%')),
    ...['-l', options.user, '--', `${options.node}.${options.id}.gridvc`],
    ...options.words,
  ];
}

export async function exec(id: string, words: readonly string[], options: CommonOptions & { readonly node?: readonly string[]; readonly root?: boolean }): Promise<number> {
  checkName('cluster', id);
  const { client } = await connect(options);
  const access = await client.getAccess(id);
  const names = access.nodes.map(({ name }) => name);
  const chosen = options.node ?? names;
  for (const node of chosen) if (!names.includes(node)) throw noSuchNode(id, node, names);
  const command = words.length === 1 ? (words[0] ?? '') : quoteCommand(words);
  const prefix = options.node?.length === 1 ? () => '' : prefixer(chosen); // one node by name: its output as it is, for pipes
  const input = chosen.length === 1 && !process.stdin.isTTY ? process.stdin : undefined;
  const { signal, done } = onInterrupt(() => undefined);
  try {
    const codes = await Promise.all(
      chosen.map((node) =>
        runOnNode({
          client, cluster: id, access, node, command, signal, privateKey: userKey().privateKey,
          ...(options.root === true ? { user: 'root' } : {}),
          ...(input === undefined ? {} : { input }),
          onLine: (line, from) => (from === 'stdout' ? print : note)(`${prefix(node)}${line}`),
        }).catch((error: unknown) => {
          if (signal.aborted) throw error;
          note(`${prefix(node)}gridvc: ${(error as Error).message}`);
          return 255;
        }),
      ),
    );
    return Math.max(...codes);
  } finally {
    done();
    if (input !== undefined) process.stdin.destroy(); // else an open pipe keeps us alive
  }
}

/** "n1:  ", as wide as the widest of them. */
function prefixer(names: readonly string[]): (name: string) => string {
  const width = Math.max(...names.map((name) => name.length));
  return (name) => `${name}: ${' '.repeat(width - name.length)}`;
}

export async function vpn(id: string, options: CommonOptions & { readonly out?: string }): Promise<void> {
  const { client } = await connect(options);
  const { profile } = await client.getAccess(checkName('cluster', id));
  if (options.out === '-') return void process.stdout.write(profile);
  const file = options.out ?? `${id}.ovpn`;
  writeWhole(file, profile);
  print(file);
  note(`join the cluster's network: sudo openvpn --config ${file}`);
}

export async function put(file: string, options: CommonOptions): Promise<void> {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined || !stat.isFile()) throw new GridError('not-found', `${file} is not a file here`);
  const { client } = await connect(options);
  const sent = await client.putFile(createReadStream(file));
  if (options.json === true) return printJson(sent);
  print(sent.id);
  note(`${sent.bytes} bytes sent; use it within a day: gridvc create --file ${sent.id}:/home/grid/NAME`);
}

/** Quiet: standard output belongs to ssh. */
export async function tunnel(id: string, node: string, options: CommonOptions): Promise<number> {
  const { client } = await connect(options);
  const stream = await client.tunnel(checkName('cluster', id), checkName('node', node));
  const upwards = pipeline(process.stdin, stream).catch(() => undefined);
  const downwards = pipeline(stream, process.stdout, { end: false }).catch(() => undefined);
  await Promise.race([downwards, upwards.then(() => downwards)]);
  process.stdin.destroy();
  client.close();
  return exitCodes.done;
}

function noSuchNode(id: string, node: string, names: readonly string[]): GridError {
  return new GridError('not-found', `cluster ${id} has no node ${node}`, { hint: `its nodes: ${names.slice(0, 20).join(' ')}${names.length > 20 ? ' ...' : ''}` });
}
