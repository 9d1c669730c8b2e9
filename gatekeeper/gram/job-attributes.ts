/**
 * The RSL attributes of GRAM jobs: those that say what to run, and those that the original knows but that mean nothing
 * here, which are taken and left. Everything else belongs to the cluster (src/domain/request-check.ts) or is unknown.
 */
import { requestAttributes } from '../../src/domain/request-check.js';
import { canonicalName } from '../../src/domain/request.js';
import { didYouMean } from '../../src/domain/nearest.js';

/** Used by job-request.ts. */
const used = [
  'arguments', 'cluster', 'directory', 'dry_run', 'environment', 'executable', 'file_clean_up', 'file_stage_in', 'file_stage_in_shared', 'file_stage_out', 'host_count',
  'job_type', 'library_path', 'max_cpu_time', 'max_time', 'min_memory', 'remote_io_url', 'restart', 'scratch_dir', 'stderr', 'stderr_position', 'stdin', 'stdout',
  'stdout_position', 'two_phase', 'username',
] as const;

/** Known to the original; nothing here has a queue, a project or a cache of that kind. */
const ignored = [
  'expiration', 'gass_cache', 'gram_my_job', 'log_level', 'log_pattern', 'max_memory', 'project', 'proxy_timeout', 'queue', 'restart_contacts', 'save_job_description', 'save_state',
] as const;

export type JobAttribute = (typeof used)[number];

const usedNames: ReadonlyMap<string, JobAttribute> = new Map(used.map((name) => [canonicalName(name), name]));
const ignoredNames: ReadonlySet<string> = new Set(ignored.map(canonicalName));
const clusterNames: ReadonlySet<string> = new Set(requestAttributes().flatMap(({ name, element }) => [name, element].map(canonicalName)));

/** What an attribute is for; any spelling. */
export function attributeOf(name: string): JobAttribute | 'cluster-attribute' | 'ignored' | 'unknown' {
  const canonical = canonicalName(name);
  const job = usedNames.get(canonical);
  if (job !== undefined) return job;
  if (clusterNames.has(canonical)) return 'cluster-attribute';
  return ignoredNames.has(canonical) ? 'ignored' : 'unknown';
}

/** In the original's words, and what may have been meant. */
export function unknownAttribute(name: string): string {
  const near = didYouMean(name, [...used, ...ignored, ...requestAttributes().map((attribute) => attribute.name)]);
  return `the RSL attribute "${name.slice(0, 64)}" is not supported by the LRM adapter${near === undefined ? '' : `; ${near}`}`;
}
