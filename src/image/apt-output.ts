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

/** One step of dpkg as apt's status pipe tells it: from this moment on, dpkg is doing this (undefined: nothing of ours). */
export interface StatusStep {
  readonly package: string;
  readonly phase: PackageTiming['phase'];
  readonly text: string;
  readonly percent: number;
}

/**
 * Reads a line of `APT::Status-Fd`, in the light of the step before it (the configuring that
 * follows a trigger is part of the trigger). Lines of the download, of dpkg's own starts and the ends
 * ("Installed") give undefined: no package's time runs from then on.
 */
export function parseStatus(line: string, before: StatusStep | undefined): StatusStep | undefined {
  const match = /^pmstatus:([^:]+)(?::[a-z0-9-]+)?:([0-9.]+):(.*)$/.exec(line);
  const [, name, percent, text] = match ?? [];
  if (name === undefined || percent === undefined || text === undefined || name === 'dpkg-exec') return undefined;
  const phase = phaseOf(text, before?.package === name && before.phase === 'trigger');
  return phase === undefined ? undefined : { package: name, phase, text, percent: Number(percent) };
}

function phaseOf(text: string, inTrigger: boolean): PackageTiming['phase'] | undefined {
  if (/^(Preparing to configure|Configuring) /.test(text)) return inTrigger ? 'trigger' : 'configure';
  if (/^(Preparing|Unpacking|Installing) /.test(text)) return 'unpack';
  if (/^Running post-installation trigger /.test(text)) return 'trigger';
  return undefined;
}

/** Adds up, per package and phase, the time between status lines. */
export class StatusClock {
  private readonly spent = new Map<string, { package: string; phase: PackageTiming['phase']; seconds: number }>();
  private current: StatusStep | undefined;
  private since = 0;

  /** @param at seconds on any steadily growing clock. Returns the step that begins now, if it is a new one. */
  line(line: string, at: number): StatusStep | undefined {
    const step = parseStatus(line, this.current);
    this.close(at);
    const fresh = step !== undefined && (step.package !== this.current?.package || step.phase !== this.current.phase);
    this.current = step;
    this.since = at;
    return fresh ? step : undefined;
  }

  /** Ends the running step and gives all sums, in order of first appearance. */
  end(at: number): readonly { package: string; phase: PackageTiming['phase']; seconds: number }[] {
    this.close(at);
    this.current = undefined;
    return [...this.spent.values()];
  }

  private close(at: number): void {
    if (this.current === undefined) return;
    const { package: name, phase } = this.current;
    const key = `${name} ${phase}`;
    const sum = this.spent.get(key) ?? { package: name, phase, seconds: 0 };
    sum.seconds += at - this.since;
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
