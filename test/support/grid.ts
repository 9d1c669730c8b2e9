/** The one-machine grid for tests: the real `gridvc` command, in a state directory of the tests' own (its layers are kept between runs). */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterView } from '../../src/domain/views.js';

export const root = join(import.meta.dirname, '..', '..', '..');
export const testHome = process.env['GRIDVC_TEST_HOME'] ?? '/var/lib/gridvc-test';
const gridvcPath = join(root, 'bin', 'gridvc');

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

export interface RunGridvc {
  /** After which the process is ended; default 300. */
  readonly seconds?: number;
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** It gets a SIGINT once it has said what matches. */
  readonly interruptAt?: RegExp;
}

/** Runs `gridvc ...words`; never throws. */
export function gridvc(words: readonly string[], options: RunGridvc = {}): Promise<Ran> {
  const begun = performance.now();
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [gridvcPath, ...words], {
      env: { ...process.env, GRIDVC_HOME: testHome, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: (options.seconds ?? 300) * 1000,
    });
    let stdout = '';
    let stderr = '';
    let interrupted = false;
    const heard = (): void => {
      if (interrupted || options.interruptAt?.test(stdout + stderr) !== true) return;
      interrupted = true;
      child.kill('SIGINT');
    };
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => ((stdout += chunk), heard()));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => ((stderr += chunk), heard()));
    child.stdin.end(options.input ?? '');
    child.on('close', (code) => resolve({ code, stdout, stderr, seconds: (performance.now() - begun) / 1000 }));
  });
}

/** Runs `gridvc ...words`. @throws with what it said, if it failed */
export async function must(words: readonly string[], options: RunGridvc = {}): Promise<Ran> {
  const ran = await gridvc(words, options);
  if (ran.code !== 0) throw new Error(`gridvc ${words.join(' ')} ended with ${ran.code}: ${ran.stderr.slice(-2000)}${ran.stdout.slice(-500)}`);
  return ran;
}

/** Destroys the user's clusters, which a run that was killed has left. */
export async function endClusters(options: RunGridvc = {}): Promise<void> {
  const clusters = JSON.parse((await must(['list', '--json'], options)).stdout) as readonly ClusterView[];
  const living = clusters.filter(({ state }) => state !== 'destroyed' && state !== 'failed');
  if (living.length > 0) await must(['destroy', '--wait', ...living.map(({ id }) => id)], options);
}

/** Why flow tests cannot run here, or undefined. */
export function whyNoGrid(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const command of ['openvpn', 'runc', 'mmdebstrap', 'mksquashfs', 'nft', 'socat']) {
    if (spawnSync('sh', ['-c', 'command -v "$1"', 'sh', command]).status !== 0) return `${command} is not installed (gridvc doctor)`;
  }
  if (spawnSync('unshare', ['--net', 'true']).status !== 0) return 'no right to make network namespaces';
  if (existsSync('/run/netns/gridvc-alpha') && !existsSync(join(testHome, 'grid'))) return 'another grid is up on this machine (gridvc grid down)';
  return undefined;
}

/** A state directory, passable for the database's user. */
export function prepareHome(home = testHome): void {
  mkdirSync(home, { recursive: true, mode: 0o711 });
}
