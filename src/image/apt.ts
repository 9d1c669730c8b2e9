/** The catalogue: what real apt, with this site's sources, says about packages. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { GridError, isGridError } from '../domain/error.js';
import type { Resolution } from '../domain/image.js';
import { checkName } from '../domain/names.js';
import { nearest } from '../domain/nearest.js';
import type { BaseImage, Catalogue, CommandResult } from '../ports.js';
import type { Log } from '../log.js';
import { parseNeeds, parsePolicy, parseRefusal, parseUris } from './apt-output.js';
import { AptRoot, type AptOptions } from './apt-root.js';

const remembered = 500;

export interface CatalogueOptions extends AptOptions {
  readonly releases: readonly string[];
  /** The dpkg status file of a base layer (LayerStore.statusPath). */
  readonly statusOf: (digest: string) => string;
  readonly log?: Log;
}

export class AptCatalogue implements Catalogue {
  private readonly roots = new Map<string, AptRoot>();
  private readonly updating = new Map<string, Promise<void>>();
  private readonly answers = new Map<string, Promise<Resolution>>();
  private readonly names = new Map<string, Promise<readonly string[]>>();

  constructor(private readonly options: CatalogueOptions) {}

  releases(): readonly string[] {
    return this.options.releases;
  }

  /** The apt of one release, for the builder too. bad-request for a release that the site does not have. */
  root(os: string): AptRoot {
    if (!this.options.releases.includes(os)) {
      throw new GridError('bad-request', `this site has no release ${JSON.stringify(os)}`, { hint: `it has: ${this.options.releases.join(', ')}` });
    }
    const root = this.roots.get(os) ?? new AptRoot(os, this.options);
    this.roots.set(os, root);
    return root;
  }

  async update(os: string, maxAgeSeconds: number, signal?: AbortSignal): Promise<void> {
    const root = this.root(os);
    if (Date.now() - (await root.updatedAt()) <= maxAgeSeconds * 1000) return;
    const running = this.updating.get(os) ?? this.fetchLists(root, signal).finally(() => this.updating.delete(os));
    this.updating.set(os, running);
    await running.catch((error: unknown) => (othersInterruption(error, signal) ? this.update(os, maxAgeSeconds, signal) : Promise.reject(error)));
  }

  async resolve(os: string, base: BaseImage, asked: readonly string[], signal?: AbortSignal): Promise<Resolution> {
    const root = this.root(os);
    const names = [...new Set(asked.map((name) => checkName('package', name)))].sort();
    let updated = await root.updatedAt();
    if (updated === 0) {
      await this.update(os, 0, signal);
      updated = await root.updatedAt();
    }
    const key = [os, base.digest, updated, ...names].join(' ');
    const known = this.answers.get(key);
    if (known !== undefined) return known.catch((error: unknown) => (othersInterruption(error, signal) ? this.resolve(os, base, asked, signal) : Promise.reject(error)));
    const answer = this.ask(root, base, names, signal);
    this.remember(key, answer);
    return answer;
  }

  async newest(os: string, names: readonly string[], signal?: AbortSignal): Promise<ReadonlyMap<string, string>> {
    if (names.length === 0) return new Map();
    const answer = await this.root(os).run(['apt-cache', 'policy', '--', ...names.map((name) => checkName('package', name))], { seconds: 120, ...(signal ? { signal } : {}) });
    if (answer.code !== 0) throw new GridError('unavailable', `apt's versions of ${os} cannot be read: ${answer.reason}`);
    return parsePolicy(answer.stdout);
  }

  async needs(os: string, names: readonly string[], signal?: AbortSignal): Promise<ReadonlyMap<string, readonly string[]>> {
    if (names.length === 0) return new Map();
    const answer = await this.root(os).run(['apt-cache', 'show', '--no-all-versions', '--', ...names.map((name) => checkName('package', name))], { seconds: 120, ...(signal ? { signal } : {}) });
    if (answer.code !== 0) throw new GridError('unavailable', `what packages of ${os} depend on cannot be read: ${answer.reason}`);
    return parseNeeds(answer.stdout);
  }

  updatedAt(os: string): Promise<number> {
    return this.root(os).updatedAt();
  }

  async checkNames(os: string, names: readonly string[]): Promise<void> {
    const root = this.root(os);
    if ((await root.updatedAt()) === 0) return;
    const known = new Set(await this.packageNames(root));
    const missing = names.filter((name) => !known.has(name.replace(/[:=].*$/, '')));
    if (missing.length === 0) return;
    const shown = await root.run(['apt-cache', 'showpkg', '--', ...missing.map((name) => name.replace(/[:=].*$/, ''))]); // virtual names are in no list
    const virtual = new Set([...shown.stdout.matchAll(/^Package: (.*)$/gm)].map((match) => match[1]));
    const unknown = missing.filter((name) => !virtual.has(name.replace(/[:=].*$/, '')));
    if (unknown.length > 0) throw await this.unknown(root, unknown);
  }

  private remember(key: string, answer: Promise<Resolution>): void {
    this.answers.set(key, answer);
    answer.catch(() => this.answers.delete(key)); // only good answers are worth keeping
    const oldest = this.answers.keys().next().value;
    if (this.answers.size > remembered && oldest !== undefined) this.answers.delete(oldest);
  }

  private async fetchLists(root: AptRoot, signal: AbortSignal | undefined): Promise<void> {
    const result = await root.run(['apt-get', '-q', 'update'], { seconds: 300, ...(signal ? { signal } : {}) });
    if (result.code === 0) {
      await root.markUpdated();
      // Builds apt's cache now, so that the first question is as quick as the next one.
      await root.run(['apt-cache', 'gencaches'], { seconds: 120 });
      return;
    }
    const reason = parseRefusal(result.stdout, result.stderr);
    const text = `apt lists of ${root.os} could not be refreshed: ${reason.kind === 'other' ? reason.text : result.reason}`;
    if ((await root.updatedAt()) === 0) throw new GridError('unavailable', text, { hint: 'check the apt sources of this site and its way to them' });
    this.options.log?.warn({ os: root.os }, `${text}; the old ones are used`);
  }

  private async ask(root: AptRoot, base: BaseImage, names: readonly string[], signal: AbortSignal | undefined): Promise<Resolution> {
    const minus = names.filter((name) => name.endsWith('-')); // to apt, "vim-" means: remove vim
    if (minus.length > 0) throw await this.unknown(root, minus);
    if (names.length === 0) return resolution(root.os, base, names, []);
    const options = ['-q', '-y', '--print-uris', '--no-install-recommends', '--no-remove', '-o', 'Debug::NoLocking=1', '-o', `Dir::Cache::archives=${join(root.dir, 'nothing')}`];
    const result = await root.run(['apt-get', ...options, 'install', '--', ...names], { status: this.options.statusOf(base.digest), ...(signal ? { signal } : {}) });
    if (result.code !== 0) throw await this.refusal(root, names, result);
    return resolution(root.os, base, names, parseUris(result.stdout).map((uri) => uri.package));
  }

  private async refusal(root: AptRoot, names: readonly string[], result: CommandResult): Promise<GridError> {
    const why = parseRefusal(result.stdout, result.stderr);
    switch (why.kind) {
      case 'unknown':
        return this.unknown(root, why.names);
      case 'version':
        return new GridError('bad-request', `packages: ${why.text}`, { hint: `ask for the package without a version to get the newest of ${root.os}` });
      case 'virtual':
        return new GridError('bad-request', `packages: ${why.name} is a virtual package`, { hint: `ask for one that provides it: ${why.providers.slice(0, 8).join(', ')}` });
      case 'conflict':
        return new GridError('bad-request', `packages: ${names.join(', ').slice(0, 200)} cannot be installed together: ${why.text.slice(0, 1000)}`, { hint: 'leave one of them out' });
      case 'other':
        return new GridError('unavailable', `apt could not resolve ${names.join(', ').slice(0, 200)}: ${why.text.slice(0, 500) || result.reason}`);
    }
  }

  private async unknown(root: AptRoot, names: readonly string[]): Promise<GridError> {
    const all = await this.packageNames(root);
    const hints = names.flatMap((name) => {
      const near = nearest(name.replace(/[:=].*$/, ''), all);
      return near.length > 0 ? [`${name}: did you mean ${near.join(', ')}?`] : [];
    });
    const what = names.length === 1 ? 'unknown package' : 'unknown packages';
    return new GridError('bad-request', `packages: ${what} ${names.join(', ')} (in ${root.os})`, hints.length > 0 ? { hint: hints.join(' ') } : {});
  }

  private async packageNames(root: AptRoot): Promise<readonly string[]> {
    const key = `${root.os} ${await root.updatedAt()}`;
    const names = this.names.get(key) ?? root.run(['apt-cache', 'pkgnames'], {}).then((result) => result.stdout.split('\n').filter((name) => name !== ''));
    this.names.clear();
    this.names.set(key, names);
    return names;
  }
}

/** True if shared work ended because somebody else, not this caller, gave up. */
function othersInterruption(error: unknown, signal: AbortSignal | undefined): boolean {
  return isGridError(error, 'interrupted') && !signal?.aborted;
}

function resolution(os: string, base: BaseImage, asked: readonly string[], found: Resolution['packages']): Resolution {
  const packages = [...found].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.architecture < b.architecture ? -1 : 1));
  const hash = createHash('sha256').update(base.digest);
  for (const { name, version, architecture } of packages) hash.update(`\n${name}:${architecture}=${version}`);
  return { os, asked, packages, key: hash.digest('hex') };
}
