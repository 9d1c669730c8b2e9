/** What apt and dpkg print, as values. Pure, strict, tested on captured text (apt 2.6.2, dpkg 1.21.22). */
import type { PackageTiming, ResolvedPackage } from '../domain/image.js';

/** One .deb that apt would fetch. */
export interface AptUri {
  readonly uri: string;
  /** Name in apt's archives directory. */
  readonly file: string;
  readonly package: ResolvedPackage;
}

/** Reads `apt-get --print-uris`: 'URI' file size hash. Throws on a line that begins like one and is not. */
export function parseUris(stdout: string): AptUri[] {
  return stdout.split('\n').filter((line) => line.startsWith("'")).map((line) => {
    const match = /^'([^']+)' ([^ _]+)_([^ _]+)_([a-z0-9-]+)\.deb (\d+)( \S+)?\s*$/.exec(line);
    const [, uri, name, version, architecture, size] = match ?? [];
    if (uri === undefined || name === undefined || version === undefined || architecture === undefined || size === undefined) {
      throw new Error(`unknown line from apt-get --print-uris: ${line.slice(0, 200)}`);
    }
    return {
      uri,
      file: `${name}_${version}_${architecture}.deb`,
      package: { name, version: decodeURIComponent(version), architecture, debBytes: Number(size) },
    };
  });
}

/** Reads `apt-cache policy`: the version that apt would install of each package that has one. */
export function parsePolicy(stdout: string): ReadonlyMap<string, string> {
  const blocks = stdout.matchAll(/^(\S+):\n(?: {2}.*\n)*? {2}Candidate: (\S+)$/gm);
  return new Map([...blocks].flatMap(([, name, version]) => (name === undefined || version === undefined || version === '(none)' ? [] : [[name, version] as const])));
}

/** Why apt refused a request, as far as the reader can mend it. */
export type AptRefusal =
  | { readonly kind: 'unknown'; readonly names: readonly string[] }
  | { readonly kind: 'version'; readonly text: string }
  | { readonly kind: 'virtual'; readonly name: string; readonly providers: readonly string[] }
  | { readonly kind: 'conflict'; readonly text: string }
  | { readonly kind: 'other'; readonly text: string };

/** Reads the two outputs of a failed `apt-get install`. */
export function parseRefusal(stdout: string, stderr: string): AptRefusal {
  const errors = stderr.split('\n').flatMap((line) => (line.startsWith('E: ') ? [line.slice(3).trim()] : []));
  const unknown = errors.flatMap((line) => /^Unable to locate package (\S+)$/.exec(line)?.[1] ?? []);
  if (unknown.length > 0) return { kind: 'unknown', names: unknown };
  const version = errors.find((line) => /^Version '.*' for '.*' was not found$/.test(line));
  if (version !== undefined) return { kind: 'version', text: version };
  const candidateless = errors.flatMap((line) => /^Package '([^']+)' has no installation candidate$/.exec(line)?.[1] ?? [])[0];
  if (candidateless !== undefined) {
    const providers = providersOf(stdout, candidateless);
    return providers.length > 0 ? { kind: 'virtual', name: candidateless, providers } : { kind: 'unknown', names: [candidateless] };
  }
  const unmet = /The following packages have unmet dependencies:\n((?: .*\n?)+)/.exec(stdout)?.[1];
  if (unmet !== undefined) return { kind: 'conflict', text: unmet.split('\n').map((line) => line.trim()).filter((line) => line !== '').join('; ') };
  const removed = /The following packages will be REMOVED:\n((?: .*\n?)+)/.exec(stdout)?.[1];
  if (removed !== undefined && errors.some((line) => line.includes('remove'))) return { kind: 'conflict', text: `it would remove ${removed.trim().replace(/\s+/g, ' ')} of the base system` };
  return { kind: 'other', text: errors.join('; ') || 'apt gave no reason' };
}

function providersOf(stdout: string, name: string): string[] {
  const after = stdout.split(`Package ${name} is a virtual package provided by:\n`)[1] ?? '';
  return (/^((?: {2}\S.*\n?)*)/.exec(after)?.[1] ?? '').split('\n').flatMap((line) => line.trim().split(' ')[0] || []);
}

/** What apt would have dpkg do, in its order. */
export type PlanStep =
  | { readonly verb: 'unpack'; readonly files: readonly string[] }
  | { readonly verb: 'configure'; readonly names: readonly string[] }
  | { readonly verb: 'finish' };

/** Reads what apt prints with Debug::pkgDPkgPM: the dpkg commands that it would run. Throws on one that is not known. */
export function parsePlan(stderr: string): PlanStep[] {
  return stderr.split('\n').filter((line) => line.startsWith('/usr/bin/dpkg ')).map((line) => {
    const [, mode, rest] = /^\/usr\/bin\/dpkg --status-fd \d+ (--no-triggers --unpack --auto-deconfigure|--no-triggers --configure|--configure --pending) ?(.*)$/.exec(line.trimEnd()) ?? [];
    const words = (rest ?? '').split(' ').filter((word) => word !== '');
    const files = words.map((word) => word.split('/').at(-1) ?? '');
    if (mode === '--configure --pending' && words.length === 0) return { verb: 'finish' };
    if (mode === '--no-triggers --configure' && words.length > 0 && words.every((word) => /^[a-z0-9][a-z0-9.+-]*(:[a-z0-9-]+)?$/.test(word))) return { verb: 'configure', names: words };
    if (mode === '--no-triggers --unpack --auto-deconfigure' && files.length > 0 && files.every((file) => /^[a-z0-9][A-Za-z0-9.+~%_-]*\.deb$/.test(file))) return { verb: 'unpack', files };
    throw new Error(`unknown dpkg command from apt: ${line.slice(0, 200)}`);
  });
}

/** What dpkg does from this moment on. */
export interface StatusStep {
  readonly package: string;
  readonly phase: PackageTiming['phase'];
}

/**
 * Reads a line of dpkg's --status-fd. Gives the step that begins, 'end' if the running one has ended, undefined if
 * nothing changes.
 */
export function parseStatus(line: string, running: StatusStep | undefined): StatusStep | 'end' | undefined {
  const [, stage, begun] = /^processing: ([a-z]+): ([^ :]+)(?::[a-z0-9-]+)?$/.exec(line.trimEnd()) ?? [];
  if (begun !== undefined) {
    const phase = stage === 'install' || stage === 'upgrade' ? 'unpack' : stage === 'configure' ? 'configure' : stage === 'trigproc' ? 'trigger' : undefined;
    return phase === undefined ? 'end' : { package: begun, phase };
  }
  const [, name, state] = /^status: ([^ :]+)(?::[a-z0-9-]+)?: ([a-z-]+)$/.exec(line.trimEnd()) ?? [];
  if (running === undefined || name !== running.package) return undefined;
  const last = running.phase === 'unpack' ? ['unpacked'] : ['installed', 'triggers-awaited', 'triggers-pending'];
  return last.includes(state ?? '') ? 'end' : undefined;
}

/**
 * Adds up the time of each package and phase. What dpkg does between two steps (reading the next package's control files)
 * belongs to the step that follows; time in which that package had not yet come belongs to nobody, it is the download's.
 */
export class StatusClock {
  private readonly spent = new Map<string, { package: string; phase: PackageTiming['phase']; seconds: number }>();
  private running: StatusStep | undefined;
  private since: number;
  /** Seconds spent waiting for packages to come. */
  blocked = 0;

  /**
   * @param from when dpkg was started, in seconds on any steadily growing clock
   * @param arrival when a package was there, on the same clock; undefined: before all
   */
  constructor(
    from: number,
    private readonly arrival: (name: string) => number | undefined = () => undefined,
  ) {
    this.since = from;
  }

  /** @param at now, on the same clock. Returns the step that begins. */
  line(line: string, at: number): StatusStep | undefined {
    const read = parseStatus(line, this.running);
    if (read === undefined) return undefined;
    if (this.running !== undefined) this.add(this.running, at - this.since);
    if (read !== 'end' && this.running === undefined) {
      const waited = read.phase === 'unpack' ? Math.min(at - this.since, Math.max(0, (this.arrival(read.package) ?? 0) - this.since)) : 0;
      this.blocked += waited;
      this.add(read, at - this.since - waited);
    }
    this.since = at;
    this.running = read === 'end' ? undefined : read;
    return this.running;
  }

  /** All sums, in order of first appearance. */
  end(at: number): readonly { package: string; phase: PackageTiming['phase']; seconds: number }[] {
    if (this.running !== undefined) this.add(this.running, at - this.since);
    this.running = undefined;
    return [...this.spent.values()];
  }

  private add(step: StatusStep, seconds: number): void {
    const key = `${step.package} ${step.phase}`;
    const sum = this.spent.get(key) ?? { package: step.package, phase: step.phase, seconds: 0 };
    sum.seconds += seconds;
    this.spent.set(key, sum);
  }
}

/** The package that dpkg failed on, from its output, or undefined. */
export function failedPackage(log: string): string | undefined {
  const direct = /dpkg: error processing (?:package|archive) (\S+)/.exec(log)?.[1];
  const listed = /Errors were encountered while processing:\n (\S+)/.exec(log)?.[1];
  const found = listed ?? direct;
  return found === undefined ? undefined : (found.split('/').at(-1) ?? found).replace(/_.*\.deb$/, '').replace(/:[a-z0-9]+$/, '');
}

export function isDiskFull(text: string): boolean {
  return /No space left on device|ENOSPC|You don't have enough free space/i.test(text);
}

/**
 * Reads `apt-cache show`: what each package depends on directly, among the packages shown. Of alternatives the first that is among
 * them; a virtual package by one that provides it. Versions are not looked at: apt has chosen them.
 */
export function parseNeeds(stdout: string): ReadonlyMap<string, readonly string[]> {
  const stanzas = new Map<string, string>();
  for (const stanza of stdout.split('\n\n')) {
    const name = /^Package: (\S+)$/m.exec(stanza)?.[1];
    if (name !== undefined && !stanzas.has(name)) stanzas.set(name, stanza);
  }
  const field = (stanza: string, name: string): readonly string[] => (new RegExp(`^${name}: (.*)$`, 'm').exec(stanza)?.[1] ?? '').split(',').map((entry) => entry.trim()).filter((entry) => entry !== '');
  const bare = (entry: string): string => entry.trim().split(/[\s(:[]/)[0] ?? '';
  const providers = new Map<string, string>();
  for (const [name, stanza] of stanzas) for (const what of field(stanza, 'Provides')) if (!providers.has(bare(what))) providers.set(bare(what), name);
  const here = (name: string): string | undefined => (stanzas.has(name) ? name : providers.get(name));
  const needs = (stanza: string): readonly string[] =>
    ['Pre-Depends', 'Depends'].flatMap((kind) => field(stanza, kind)).flatMap((group) => {
      const names = group.split('|').map(bare);
      return here(names.find((name) => stanzas.has(name)) ?? names.find((name) => providers.has(name)) ?? '') ?? [];
    });
  return new Map([...stanzas].map(([name, stanza]) => [name, [...new Set(needs(stanza))].filter((other) => other !== name).sort()]));
}
