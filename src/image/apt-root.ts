/**
 * An apt of our own for one Debian release: its lists, cache and sources live under the head's home,
 * so that the machine's apt is never touched. It uses the machine's settings for fetching (proxies,
 * validity checks), keyrings and preferences. Directory: <home>/apt/<os>.
 */
import { mkdir, readFile, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GridError } from '../domain/error.js';
import type { CommandResult } from '../ports.js';
import { runCommand, type CommandOptions } from '../proc/command.js';
import { sourcesFor } from './apt-sources.js';

export interface AptOptions {
  /** The head's home. */
  readonly home: string;
  /** Sources file; without one the machine's own sources are used. */
  readonly sources?: string;
  /** Shared directory of fetched .debs; default <home>/apt/archives. */
  readonly archives?: string;
  /** Environment for apt, e.g. http_proxy. */
  readonly env?: Readonly<Record<string, string>>;
}

export class AptRoot {
  readonly dir: string;
  readonly archives: string;
  readonly sourcesDir: string;
  /** The machine's settings for fetching, as apt.conf lines. */
  fetchSettings = '';
  private prepared: Promise<void> | undefined;

  constructor(
    readonly os: string,
    private readonly options: AptOptions,
  ) {
    this.dir = join(options.home, 'apt', os);
    this.archives = options.archives ?? join(options.home, 'apt', 'archives');
    this.sourcesDir = join(this.dir, 'sources.list.d');
  }

  /** Makes directories, settings and sources; does it once. Refuses a release that no source has: bad-request. */
  prepare(): Promise<void> {
    this.prepared ??= this.write().catch((error: unknown) => {
      this.prepared = undefined;
      throw error;
    });
    return this.prepared;
  }

  /** Runs apt-get or apt-cache here. @param status dpkg status file of the system that the answer is about */
  async run(argv: readonly string[], options: CommandOptions & { status?: string; locked?: boolean } = {}): Promise<CommandResult> {
    await this.prepare();
    const [program = 'apt-get', ...rest] = argv;
    const own = options.status === undefined ? [] : ['-o', `Dir::State::status=${options.status}`];
    // One fetch at a time into the archives, also between processes: apt itself would fail, not wait.
    const lock = options.locked ? ['flock', join(this.archives, '.gridvc-lock')] : [];
    return runCommand([...lock, program, ...own, ...rest], { ...options, env: { ...this.options.env, APT_CONFIG: join(this.dir, 'apt.conf') } });
  }

  /** Milliseconds since 1970 of the last good update, 0 if there was none. */
  async updatedAt(): Promise<number> {
    const stamp = await stat(this.stamp).catch(() => undefined);
    return stamp?.mtimeMs ?? 0;
  }

  async markUpdated(): Promise<void> {
    await writeFile(this.stamp, '');
    const now = new Date();
    await utimes(this.stamp, now, now);
  }

  /** Source files in apt's own formats, for mmdebstrap. */
  async sourceFiles(): Promise<string[]> {
    await this.prepare();
    return (await readdir(this.sourcesDir)).sort().map((name) => join(this.sourcesDir, name));
  }

  private get stamp(): string {
    return join(this.dir, 'updated');
  }

  private async write(): Promise<void> {
    const sub = (path: string): string => join(this.dir, path);
    for (const path of ['state/lists/partial', 'cache', 'nothing/partial', 'no-parts', 'sources.list.d']) await mkdir(sub(path), { recursive: true });
    await mkdir(join(this.archives, 'partial'), { recursive: true });
    const found = sourcesFor(await this.sourceTexts(), this.os);
    if (found.stanzas === '' && found.lines === '') {
      throw new GridError('bad-request', `no apt source of this site has the release ${this.os}`, { hint: `add it to ${this.options.sources ?? '/etc/apt/sources.list.d'}` });
    }
    await this.putSources('gridvc.sources', found.stanzas);
    await this.putSources('gridvc.list', found.lines);
    this.fetchSettings = await machineSettings();
    await writeFile(sub('no-status'), '');
    await writeFile(sub('apt.conf'), this.fetchSettings + this.settings());
  }

  private async putSources(name: string, text: string): Promise<void> {
    const path = join(this.sourcesDir, name);
    if (text !== '') return writeFile(path, text);
    await rm(path, { force: true });
  }

  private async sourceTexts(): Promise<{ name: string; text: string }[]> {
    const files = this.options.sources === undefined ? await machineSources() : [this.options.sources];
    return Promise.all(
      files.map(async (name) => ({
        name,
        text: await readFile(name, 'utf8').catch((cause: Error) => {
          throw new GridError('unavailable', `apt sources ${name}: ${cause.message}`, { cause });
        }),
      })),
    );
  }

  private settings(): string {
    const set = (name: string, value: string): string => `${name} "${value}";\n`;
    return [
      set('Dir::State', join(this.dir, 'state')),
      set('Dir::State::status', join(this.dir, 'no-status')),
      set('Dir::Cache', join(this.dir, 'cache')),
      set('Dir::Cache::archives', this.archives),
      set('Dir::Cache::pkgcache', 'pkgcache.bin'), // kept: without it each answer costs half a second more
      set('Dir::Cache::srcpkgcache', 'srcpkgcache.bin'),
      set('Dir::Log', join(this.dir, 'cache')),
      set('Dir::Etc::main', '/dev/null'), // the machine's hooks are about the machine
      set('Dir::Etc::parts', join(this.dir, 'no-parts')),
      set('Dir::Etc::sourcelist', '/dev/null'),
      set('Dir::Etc::sourceparts', this.sourcesDir),
      set('APT::Sandbox::User', ''),
      set('APT::Install-Recommends', 'false'),
      set('APT::Install-Suggests', 'false'),
      set('APT::Keep-Downloaded-Packages', 'true'),
      set('APT::Cmd::Pattern-Only', 'true'), // "c.e" is a name, not a regular expression
      set('APT::Update::Error-Mode', 'any'),
      set('Acquire::Languages', 'none'),
      set('Acquire::GzipIndexes', 'false'),
      set('Acquire::Retries', '2'),
    ].join('');
  }
}

async function machineSources(): Promise<string[]> {
  const folder = '/etc/apt/sources.list.d';
  const parts = await readdir(folder).catch(() => []);
  const one = await stat('/etc/apt/sources.list').then(() => ['/etc/apt/sources.list'], () => []);
  return [...one, ...parts.filter((name) => /^[\w.-]+\.(list|sources)$/.test(name)).sort().map((name) => join(folder, name))];
}

/** How this machine fetches packages: all Acquire settings but what is fetched (targets, languages) and how it is kept. */
async function machineSettings(): Promise<string> {
  const dump = await runCommand(['apt-config', 'dump', 'Acquire']);
  if (dump.code !== 0) throw new GridError('unavailable', `the machine's apt settings cannot be read: ${dump.reason}`);
  const left = /^Acquire::(IndexTargets|Languages|GzipIndexes|CompressionTypes|Changelogs|cdrom)\b/i;
  const lines = dump.stdout.split('\n').filter((line) => /^Acquire::\S+ ".+";$/.test(line) && !left.test(line));
  return lines.map((line) => `${line}\n`).join('');
}
