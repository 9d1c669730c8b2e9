/** Debian packages that a single test needs beyond those of `npm test`'s set-up. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Makes `file` exist by installing Debian packages; says why it cannot. */
export function missing(file: string, packages: readonly string[]): string | false {
  if (existsSync(file)) return false;
  if (process.getuid?.() !== 0) return `needs root to install ${packages.join(' ')}`;
  const install = (): boolean => spawnSync('apt-get', ['install', '-y', '--no-install-recommends', ...packages], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } }).status === 0;
  if (!install()) spawnSync('apt-get', ['update']);
  return existsSync(file) || install() ? false : `apt-get cannot install ${packages.join(' ')}`;
}
