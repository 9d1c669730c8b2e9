/** The original: globus-gatekeeper with globus-gram-job-manager-fork as Debian packages them, set up under a directory of its own. */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { issueCertificate, makeKey, type Issuer } from '../../src/pki/issue.js';

export interface Original {
  readonly contact: string;
  stop(): Promise<void>;
}

export interface OriginalOptions {
  /** Below it: certificates, log, the account's home. Every directory above must be passable. */
  readonly home: string;
  readonly port: number;
  readonly authority: Issuer;
  readonly trust: string;
  /** Subject that is mapped to the account. */
  readonly user: string;
}

const account = 'gridvc-bench';
const binary = '/usr/sbin/globus-gatekeeper';

/** Starts it; the account is made now and removed by `stop`, with all processes that it runs. */
export async function startOriginal(options: OriginalOptions): Promise<Original> {
  const { home, port, authority, trust, user } = options;
  const at = (name: string): string => join(home, name);
  for (const dir of ['', 'services', 'user', 'state']) mkdirSync(at(dir), { recursive: true, mode: 0o755 });
  must('useradd', ['-M', '-d', at('user'), '-s', '/bin/sh', account], 'exists');
  const [uid = 0, gid = 0] = ['-u', '-g'].map((flag) => Number(spawnSync('id', [flag, account], { encoding: 'utf8' }).stdout));
  for (const dir of ['user', 'state']) chownSync(at(dir), uid, gid);
  const { key, publicKey } = await makeKey('rsa');
  const { certificate } = await issueCertificate({ issuer: authority, subject: '/O=Grid/OU=gridvc/CN=original', publicKey, notAfter: new Date(Date.now() + 86_400_000), usage: 'host', dnsNames: ['localhost'] });
  writeFileSync(at('host.pem'), certificate);
  writeFileSync(at('host.key'), key, { mode: 0o400 });
  chmodSync(at('host.key'), 0o400);
  writeFileSync(at('map'), `"${user}" ${account}\n`);
  writeFileSync(at('jm.conf'), `-globus-toolkit-version 6.2\n-log-pattern ${at('user')}/gram.log\n-state-file-dir ${at('state')}\n`);
  writeFileSync(at('services/jobmanager'), `stderr_log,local_cred - /usr/sbin/globus-job-manager globus-job-manager -conf ${at('jm.conf')} -type fork\n`);
  const log = openSync(at('log'), 'a');
  const gatekeeper = spawn(binary, ['-f', '-p', String(port), '-l', at('gatekeeper.log'), '-grid_services', at('services'), '-gridmap', at('map'), '-x509_cert_dir', trust, '-x509_user_cert', at('host.pem'), '-x509_user_key', at('host.key')], { stdio: ['ignore', log, log], env: { PATH: process.env['PATH'], GLOBUS_HOSTNAME: 'localhost' } });
  closeSync(log);
  const stop = async (): Promise<void> => {
    gatekeeper.kill('SIGKILL');
    spawnSync('pkill', ['-KILL', '-u', account]); // an account that this run made, and that nobody else uses
    await pause(300);
    spawnSync('userdel', [account]);
  };
  for (let n = 0; n < 100; n++) {
    if (await answers(port)) return { contact: `localhost:${port}`, stop };
    await pause(50);
  }
  await stop();
  throw new Error(`${binary} did not listen on port ${port}; see ${at('log')}`);
}

function must(command: string, words: readonly string[], unless: string): void {
  const ran = spawnSync(command, words, { encoding: 'utf8' });
  if (ran.status !== 0 && !ran.stderr.includes(unless)) throw new Error(`${command}: ${ran.stderr}`);
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false)).on('connect', () => socket.destroy());
  });
}
