#!/usr/bin/env node
/**
 * What stands before `npm run demo`, `npm test`, `npm run bench` and `npm run simulate` on a fresh clone: npm packages, a build,
 * Debian packages; then it runs the thing and ends with its exit code. Plain JavaScript without dependencies,
 * since nothing is installed yet. Says one line for each thing it does, nothing for what is already there.
 *
 *   node bin/setup.mjs demo|test|test:xen|bench|bench-gram|bench-paper|simulate [arguments...]   set up, then run
 *   node bin/setup.mjs packages [--tests]               only the Debian packages (`gridvc setup`)
 *   node bin/setup.mjs build                            only npm packages and the build
 *
 * Exit codes: those of the thing run; 1 if the set-up failed; 2 for wrong usage.
 */
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, join, dirname, basename } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const isRoot = process.getuid?.() === 0;

class SetupError extends Error {
  constructor(message, hint) {
    super(message);
    this.hint = hint;
  }
}

const targets = {
  demo: { needs: ['run'], privileged: true, run: ['dist/src/cli/main.js', 'demo'] },
  test: { needs: ['run', 'test'], privileged: false, run: ['dist/test/run.js'] },
  'test:xen': { needs: ['run', 'test', 'xen'], privileged: false, run: ['dist/test/run.js', '--xen'] },
  bench: { needs: ['run'], privileged: true, run: ['dist/test/bench/main.js'] },
  'bench-paper': { needs: ['run', 'test'], privileged: true, run: ['dist/test/bench/paper/main.js'] },
  'bench-gram': { needs: ['run', 'test', 'bench-gram'], privileged: true, run: ['dist/test/bench/gram-main.js'] },
  simulate: { needs: [], privileged: false, run: ['dist/test/simulate/main.js'] },
};

async function main([what, ...rest]) {
  checkNode();
  if (what === 'build') return void (npmPackages(), build());
  if (what === 'packages') return debianPackages(rest.includes('--tests') ? ['run', 'test'] : ['run'], 'sudo gridvc setup');
  const target = Object.hasOwn(targets, what ?? '') ? targets[what] : undefined;
  if (target === undefined) {
    console.error('usage: node bin/setup.mjs demo|test|test:xen|bench|bench-gram|bench-paper|simulate [arguments...]\n       node bin/setup.mjs packages [--tests] | build');
    process.exitCode = 2;
    return;
  }
  const again = what === 'test' ? 'npm test' : `npm run ${what.replace('-', ':')}`;
  if (target.privileged) checkPrivilege(what, again);
  npmPackages();
  build();
  const xen = rest.some((word) => word === '--xen' || word === 'xen') ? ['xen'] : [];
  debianPackages([...target.needs, ...xen], asRoot(again), !target.privileged);
  process.exitCode = await run(process.execPath, [...target.run.map((word, i) => (i === 0 ? join(root, word) : word)), ...rest]);
}

function say(text) {
  console.error(`setup: ${text}`);
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 9)) throw new SetupError(`this is Node ${process.versions.node}; gridvc needs 20.9 or newer`);
}

/** The line that repeats `command` with privilege; keeps PATH if root would not find this node by itself. */
function asRoot(command) {
  if (isRoot) return command;
  const ordinary = ['/usr/bin', '/usr/local/bin', '/bin'].includes(dirname(process.execPath));
  if (find('sudo')) return ordinary ? `sudo ${command}` : `sudo env "PATH=$PATH" ${command}`;
  return `su -c '${ordinary ? '' : `PATH=${process.env.PATH} `}${command}'`;
}

function checkPrivilege(what, again) {
  if (!isRoot) {
    throw new SetupError(`the ${what} makes network namespaces, mounts and containers, and this is not root`, `run this line: ${asRoot(again)}`);
  }
  const probe = spawnSync('unshare', ['--net', '--mount', 'true'], { encoding: 'utf8' });
  if (probe.status !== 0) {
    throw new SetupError(
      `this root may not make namespaces (unshare --net --mount: ${(probe.stderr || String(probe.error)).trim()})`,
      `in a container, start it with all capabilities (docker run --privileged, or systemd-nspawn --capability=all), then run: ${again}`,
    );
  }
}

// ---------------------------------------------------------------- npm packages

/** `npm ci` unless node_modules holds exactly what package-lock.json asks for. Compared by content: times lie after a clone. */
function npmPackages() {
  if (npmComplete()) return;
  if (lstatSync(join(root, 'node_modules'), { throwIfNoEntry: false })?.isSymbolicLink()) {
    throw new SetupError('node_modules is a link to a directory that does not fit package-lock.json', 'remove the link, or run npm ci where it points to');
  }
  say('installing the npm packages of package-lock.json (npm ci)');
  quietly('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], 'npm ci', 'see to the network or the npm registry settings, then run: npm ci');
}

function npmComplete() {
  const wanted = readJson(join(root, 'package-lock.json'))?.packages ?? {};
  const present = readJson(join(root, 'node_modules/.package-lock.json'))?.packages;
  if (present === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => path === '' || entry.optional || entry.devOptional || present[path]?.version === entry.version);
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

// ---------------------------------------------------------------- build

/** Compiles if a source is newer than the last build, and drops compiled files whose source is gone. */
function build() {
  const stamp = join(root, 'dist/.built');
  const built = statSync(stamp, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const sources = ['src', 'gatekeeper', 'test'].flatMap((dir) => filesIn(dir, '.ts'));
  const newest = Math.max(...[...sources, 'tsconfig.json', 'package-lock.json'].map((file) => statSync(join(root, file)).mtimeMs));
  const orphans = ['dist/src', 'dist/gatekeeper', 'dist/test']
    .flatMap((dir) => filesIn(dir, '.js'))
    .filter((file) => !existsSync(join(root, file.replace(/^dist\//, '').replace(/\.js$/, '.ts'))));
  if (built > newest && orphans.length === 0) return;
  say('compiling (tsc)');
  for (const file of orphans) rmSync(join(root, file));
  quietly(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', root], 'tsc');
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, '');
}

/** Paths, relative to the project, of the files below `dir` that end so. */
function filesIn(dir, end) {
  if (!existsSync(join(root, dir))) return [];
  return readdirSync(join(root, dir), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(end) && !file.endsWith('.d.ts'))
    .map((file) => join(dir, file));
}

// ---------------------------------------------------------------- Debian packages

/** Names the missing ones and installs them. With `optional` and without root it only says what will be left out. */
function debianPackages(uses, again, optional = false) {
  const table = JSON.parse(readFileSync(join(root, 'bin/needs.json'), 'utf8'));
  const missing = table.filter((need) => uses.includes(need.use) && !find(need.find));
  if (missing.length === 0) return;
  const names = [...new Set(missing.map((need) => need.package))];
  for (const need of missing) say(`missing Debian package ${need.package}: ${need.why}`);
  const byHand = `apt-get install --no-install-recommends ${names.join(' ')}`;
  if (!isRoot) {
    if (optional) return say(`going on without; what needs them is left out (to install them: ${asRoot(byHand)})`);
    throw new SetupError('only root can install packages', `run this line: ${again}`);
  }
  if (!find('apt-get')) throw new SetupError('this is no Debian: there is no apt-get', `install by your own means: ${names.join(' ')}`);
  say(`installing ${names.join(' ')} (apt-get)`);
  withoutServices(() => {
    const environment = { DEBIAN_FRONTEND: 'noninteractive', UCF_FORCE_CONFFOLD: '1', LC_ALL: 'C' };
    const hint = `see to the apt sources or the proxy, then run: apt-get update && ${byHand}`;
    quietly('apt-get', ['-q', 'update'], 'apt-get update', hint, environment);
    quietly('apt-get', ['-qy', '-o', 'Dpkg::Options::=--force-confold', 'install', '--no-install-recommends', ...names], 'apt-get install', hint, environment);
  });
  const still = missing.filter((need) => !find(need.find));
  if (still.length > 0) throw new SetupError(`installed, but still not found: ${still.map((need) => `${need.find} (${need.package})`).join(', ')}`);
}

/** Runs `work` so that the packages it installs start no service and postgresql makes no default cluster. */
function withoutServices(work) {
  const policy = '/usr/sbin/policy-rc.d';
  const clusters = '/etc/postgresql-common/createcluster.conf';
  const undo = [];
  try {
    if (!existsSync(policy)) {
      undo.push(() => rmSync(policy, { force: true }));
      writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
    }
    const before = existsSync(clusters) ? readFileSync(clusters, 'utf8') : undefined;
    undo.push(() => restoreClusters(clusters, before));
    mkdirSync(dirname(clusters), { recursive: true });
    writeFileSync(clusters, `${before ?? ''}\ncreate_main_cluster = false\n`);
    work();
  } finally {
    for (const step of undo.reverse()) step();
  }
}

function restoreClusters(file, before) {
  const packaged = '/usr/share/postgresql-common/createcluster.conf';
  if (before !== undefined) writeFileSync(file, before);
  else if (existsSync(packaged)) copyFileSync(packaged, file);
  else rmSync(file, { force: true });
}

/** A command on the path (sbin included), or an absolute path with at most one `*` segment. */
function find(what) {
  if (what.startsWith('/')) return expand(what).some((path) => existsSync(path));
  const path = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
  return path.some((dir) => dir !== '' && existsSync(join(dir, what)));
}

function expand(pattern) {
  const [before, after] = pattern.split('*');
  if (after === undefined) return [pattern];
  if (!existsSync(dirname(before + 'x'))) return [];
  return readdirSync(dirname(before + 'x'))
    .filter((name) => name.startsWith(before.endsWith('/') ? '' : basename(before)))
    .map((name) => join(dirname(before + 'x'), name + after));
}

// ---------------------------------------------------------------- running

/** Runs a command and shows its output only if it fails. */
function quietly(command, args, title, hint, environment = {}) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 26 });
  if (result.status === 0) return;
  if (result.signal === 'SIGINT') process.exit(130);
  const output = `${result.stdout ?? ''}${result.stderr ?? ''}`.trim().split('\n').slice(-25).join('\n');
  throw new SetupError(`${title} failed (${result.error?.message ?? result.signal ?? `exit code ${result.status}`})\n${output}`, hint);
}

/** Runs the thing itself. Ctrl-C reaches it through the terminal; this process waits for its clean end. */
function run(command, args) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (signal !== 'SIGINT') child.kill(signal);
    });
  }
  const child = spawn(command, args, { cwd: process.cwd(), stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? (signal === 'SIGINT' ? 130 : 1)));
  });
}

main(process.argv.slice(2)).catch((error) => {
  if (!(error instanceof SetupError)) throw error;
  console.error(`setup: ${error.message}`);
  if (error.hint) console.error(`hint: ${error.hint}`);
  process.exitCode = 1;
});
