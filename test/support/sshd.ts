/** A real OpenSSH server on a loopback port with throwaway keys, for tests of the ssh transport. */
import { spawn, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';

export interface TestSshd {
  readonly port: number;
  readonly key: string;
  readonly knownHosts: string;
  /** Ends every session's connection, as a network failure would. */
  dropConnections(): void;
  stop(): Promise<void>;
}

/** @param dir an empty directory for keys and configuration; @param at another address, in a network namespace that has it */
export async function startSshd(dir: string, at: { address: string; netns?: string } = { address: '127.0.0.1' }): Promise<TestSshd> {
  const { address, netns } = at;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  if (!existsSync('/run/sshd')) mkdirSync('/run/sshd');
  for (const name of ['host', 'user']) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(dir, name)]);
  const read = (name: string): string => execFileSync('cat', [join(dir, name)], { encoding: 'utf8' });
  const port = await freePort();
  writeFileSync(join(dir, 'authorized_keys'), read('user.pub'), { mode: 0o600 });
  writeFileSync(join(dir, 'known_hosts'), `[${address}]:${port} ${read('host.pub')}`);
  writeFileSync(join(dir, 'sshd_config'), `ListenAddress ${address}:${port}\nHostKey ${join(dir, 'host')}\nAuthorizedKeysFile ${join(dir, 'authorized_keys')}\nPidFile none\nUsePAM no\nUseDNS no\nStrictModes no\nSetEnv HOME=${dir}\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nMaxSessions 10\n`);
  const inside = netns === undefined ? [] : ['nsenter', `--net=/run/netns/${netns}`];
  const [program = '', ...words] = [...inside, '/usr/sbin/sshd', '-D', '-e', '-f', join(dir, 'sshd_config')];
  const server = spawn(program, words, { stdio: 'ignore' }); // nsenter becomes sshd
  const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  await answering(address, port);
  const children = (): number[] => {
    try {
      return execFileSync('ps', ['--ppid', String(server.pid), '-o', 'pid='], { encoding: 'utf8' }).split('\n').map(Number).filter((pid) => pid > 0);
    } catch {
      return [];
    }
  };
  return {
    port,
    key: join(dir, 'user'),
    knownHosts: join(dir, 'known_hosts'),
    dropConnections: () => children().forEach((pid) => process.kill(pid, 'SIGKILL')),
    stop: async () => {
      children().forEach((pid) => process.kill(pid, 'SIGTERM'));
      server.kill('SIGTERM');
      await ended;
    },
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

async function answering(address: string, port: number): Promise<void> {
  for (let tries = 100; tries > 0; tries--) {
    const up = await new Promise<boolean>((resolve) => {
      const socket = connect(port, address);
      socket.once('connect', () => (socket.destroy(), resolve(true))).once('error', () => resolve(false));
    });
    if (up) return;
    await new Promise((wake) => setTimeout(wake, 50));
  }
  throw new Error('the test sshd does not answer');
}
