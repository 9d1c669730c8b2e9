/**
 * RSL of a GRAM job to what its user means. Pure.
 *
 *   executable, count ...            a cluster for this program alone, torn down when it ends
 *   count ... without executable     a cluster to hold until its lease ends; the job contact is its handle
 *   cluster=ID, executable ...       a program on a cluster that stands
 *
 * Attributes of the cluster go the same way as those of a SOAP request (request/from-rsl.ts); here are only the job's.
 */
import { canonicalName, type RawFile } from '../../src/domain/request.js';
import { isName } from '../../src/domain/names.js';
import { isGridError } from '../../src/domain/error.js';
import { parseRsl } from '../../src/rsl/parse.js';
import { substitute, type PlainRelation } from '../../src/rsl/substitute.js';
import type { RslNode, RslRelation } from '../../src/rsl/tree.js';
import { relationsOf, requestOf } from '../request/from-rsl.js';
import { attributeOf, unknownAttribute, type JobAttribute } from './job-attributes.js';
import { errandOf, type Errand } from './job-errand.js';
import { JobError } from './job-error.js';
import { destinationsOf, pairsOf, sourceOf, type Destination, type FilePair, type Source } from './job-files.js';
import { codes } from './protocol.js';

export const jobTypes = ['single', 'multiple', 'mpi'] as const;
export type JobType = (typeof jobTypes)[number];

export interface Program {
  readonly executable: Source;
  readonly arguments: readonly string[];
  readonly environment: readonly (readonly [string, string])[];
  /** Undefined: the login user's home. */
  readonly directory?: string;
  readonly type: JobType;
  /** Processes; single jobs have one. */
  readonly count: number;
  readonly stdin?: Source;
  readonly stdout: readonly Destination[];
  readonly stderr: readonly Destination[];
  readonly stageIn: readonly FilePair[];
  readonly stageOut: readonly FilePair[];
  readonly cleanUp: readonly string[];
  readonly scratch: boolean;
  readonly remoteIoUrl?: string;
  /** Minutes that it may run; undefined on a standing cluster: as long as that stands. */
  readonly wallMinutes?: number;
  /** Minutes of processor time of each process. */
  readonly cpuMinutes?: number;
}

export type Place =
  /** An errand of the clients' own tools. */
  | { readonly kind: 'none' }
  | { readonly kind: 'new'; readonly attributes: readonly (readonly [string, readonly string[]])[]; readonly files: readonly RawFile[] }
  | { readonly kind: 'standing'; readonly cluster: string };

/** JSON all through: it is kept in the job's row. */
export interface JobRequest {
  readonly place: Place;
  /** Undefined: the cluster itself is what is wanted. */
  readonly program?: Program;
  /** Instead of running the program. */
  readonly errand?: Errand;
  /** Seconds to wait for the commit. */
  readonly twoPhase?: number;
  readonly dryRun: boolean;
}

export interface RequestSettings {
  /** $(HOME), $(GLOBUS_GRAM_JOB_CONTACT) ... */
  readonly variables: ReadonlyMap<string, string>;
  /** Account that the caller is mapped to. */
  readonly account: string;
  /** Minutes of the longest lease. */
  readonly lifetime: number;
}

const usualWallMinutes = 60;
/** A cluster for one program lives this much longer than the program may run: it has to be built, and emptied. */
const buildMinutes = 30;
const usualCommitSeconds = 60;
const mostProcesses = 100_000;

/** Throws JobError with GRAM's code for what is wrong. */
export function readJobRequest(rsl: string, settings: RequestSettings): JobRequest {
  const given = new Given(rsl, settings.variables);
  checkFormalities(given, settings.account);
  const cluster = given.word('cluster', codes.badRsl);
  if (cluster !== undefined && !isName('cluster', cluster)) throw new JobError(codes.noResources, `${JSON.stringify(cluster.slice(0, 80))} is not the id of a cluster`);
  const count = given.number('count', codes.invalidCount, { least: 1, most: mostProcesses }) ?? 1;
  const hosts = given.number('host_count', codes.invalidHostCount, { least: 1, most: mostProcesses });
  const wall = wallMinutes(given, settings.lifetime);
  const program = given.has('executable') ? readProgram(given, { count, wall: wall ?? (cluster === undefined ? Math.min(usualWallMinutes, settings.lifetime) : undefined) }) : undefined;
  if (program === undefined && cluster !== undefined) throw new JobError(codes.undefinedExecutable, `the cluster ${cluster} stands; say what to run on it: (executable=...)`);
  if (program === undefined) refuseOrphans(given);
  const twoPhase = readTwoPhase(given);
  const errand = program && errandOf(program);
  return {
    place: errand ? { kind: 'none' } : cluster === undefined ? newCluster(given, { nodes: hosts ?? count, lifetime: leaseMinutes(program, wall, settings.lifetime) }) : standing(given, cluster),
    ...(program === undefined ? {} : { program }),
    ...(errand === undefined ? {} : { errand }),
    ...(twoPhase === undefined ? {} : { twoPhase }),
    dryRun: given.flag('dry_run', codes.rslDryRun),
  };
}

function leaseMinutes(program: Program | undefined, wall: number | undefined, most: number): number | undefined {
  return program === undefined ? wall : Math.min((program.wallMinutes ?? 0) + buildMinutes, most);
}

function newCluster(given: Given, { nodes, lifetime }: { nodes: number; lifetime: number | undefined }): Place {
  const own = given.clusterRelations.filter(({ attribute }) => !['count', 'maxwalltime', 'lifetime'].includes(canonicalName(attribute)));
  const raw = requestOf(given.text, own);
  const attributes = new Map(raw.attributes);
  attributes.set('count', [String(nodes)]);
  if (lifetime !== undefined) attributes.set('max_wall_time', [String(lifetime)]);
  const memory = given.number('min_memory', codes.invalidMinMemory, { least: 0, most: 1_048_576 });
  if (memory !== undefined && memory > 320 && !own.some(({ attribute }) => canonicalName(attribute) === 'memory')) attributes.set('memory', [String(memory)]);
  return { kind: 'new', attributes: [...attributes], files: raw.files };
}

/** What describes a cluster has no meaning for one that stands. */
function standing(given: Given, cluster: string): Place {
  const own = given.clusterRelations.find(({ attribute }) => !['count', 'maxwalltime', 'lifetime'].includes(canonicalName(attribute)));
  if (own) throw new JobError(codes.unsupportedParameter, `${own.attribute} describes a cluster, and ${cluster} stands already: leave it out`);
  return { kind: 'standing', cluster };
}

function wallMinutes(given: Given, most: number): number | undefined {
  const range = { least: 0, most };
  const named = given.number('max_wall_time', codes.invalidMaxWallTime, range) ?? given.number('lifetime', codes.invalidMaxWallTime, range) ?? given.number('max_time', codes.invalidMaxTime, range);
  return named === 0 ? undefined : named; // 0 is "whatever is usual", as in the original
}

function readProgram(given: Given, { count, wall }: { count: number; wall: number | undefined }): Program {
  const type = readType(given);
  const directory = given.word('directory', codes.rslDirectory);
  const stdin = given.word('stdin', codes.rslStdin);
  const remoteIoUrl = given.word('remote_io_url', codes.rslRemoteIoUrl);
  const cpu = given.number('max_cpu_time', codes.invalidMaxCpuTime, { least: 0, most: 100_000_000 });
  return {
    executable: sourceOf(given.word('executable', codes.rslExecutable) ?? '', 'executable', codes.rslExecutable),
    arguments: given.words('arguments', codes.rslArguments),
    environment: readEnvironment(given),
    ...(directory === undefined ? {} : { directory }),
    type,
    count: type === 'single' ? 1 : count,
    ...(stdin === undefined || stdin === '/dev/null' ? {} : { stdin: sourceOf(stdin, 'stdin', codes.rslStdin) }),
    stdout: destinationsOf(given.values('stdout'), 'stdout', codes.rslStdout),
    stderr: destinationsOf(given.values('stderr'), 'stderr', codes.rslStderr),
    stageIn: [...pairsOf(given.values('file_stage_in'), codes.rslFileStageIn), ...pairsOf(given.values('file_stage_in_shared'), codes.rslFileStageInShared)],
    stageOut: pairsOf(given.values('file_stage_out'), codes.rslFileStageOut),
    cleanUp: given.words('file_clean_up', codes.rslFileCleanUp),
    scratch: given.has('scratch_dir'),
    ...(remoteIoUrl === undefined ? {} : { remoteIoUrl }),
    ...(wall === undefined ? {} : { wallMinutes: wall }),
    ...(cpu === undefined || cpu === 0 ? {} : { cpuMinutes: cpu }),
  };
}

function readType(given: Given): JobType {
  const text = (given.word('job_type', codes.rslJobType) ?? 'multiple').toLowerCase();
  const type = jobTypes.find((each) => each === text);
  if (type !== undefined) return type;
  if (text === 'condor') throw new JobError(codes.jobTypeNotSupported, 'job_type is condor; there is no Condor here: single, multiple or mpi');
  throw new JobError(codes.invalidJobType, `job_type is ${JSON.stringify(text.slice(0, 40))}; allowed: ${jobTypes.join(', ')}`);
}

/** (NAME value) pairs; the library path, as the original does, is one more. */
function readEnvironment(given: Given): [string, string][] {
  const pairs = given.values('environment').map((value): [string, string] => {
    const [name, content, ...more] = Array.isArray(value) ? (value as readonly unknown[]) : [];
    if (typeof name !== 'string' || typeof content !== 'string' || more.length > 0) throw new JobError(codes.rslEnvironment, 'environment takes pairs: (environment=(NAME value)(NAME value))');
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new JobError(codes.rslEnvironment, `${JSON.stringify(name.slice(0, 80))} is not the name of an environment variable`);
    return [name, plain(content, 'environment', codes.rslEnvironment)];
  });
  const libraries = given.words('library_path', codes.rslEnvironment);
  return libraries.length === 0 ? pairs : [...pairs, ['LD_LIBRARY_PATH', libraries.join(':')]];
}

function readTwoPhase(given: Given): number | undefined {
  const text = given.word('two_phase', codes.rslTwoPhase)?.toLowerCase();
  if (text === undefined || text === 'no' || text === '0') return undefined;
  if (text === 'yes') return usualCommitSeconds;
  if (!/^\d{1,6}$/.test(text)) throw new JobError(codes.invalidTwoPhase, `two_phase is ${JSON.stringify(text.slice(0, 40))}; allowed: yes, no, or seconds to wait for the commit`);
  return Number(text);
}

/** What has no effect here but must be right, or is impossible. */
function checkFormalities(given: Given, account: string): void {
  const user = given.word('username', codes.rslUserName);
  if (user !== undefined && user !== account) throw new JobError(codes.invalidUserName, `username is ${JSON.stringify(user.slice(0, 40))}; you are mapped to ${JSON.stringify(account)}`);
  for (const [name, code] of [['stdout_position', codes.invalidStdoutPosition], ['stderr_position', codes.invalidStderrPosition]] as const) {
    given.number(name, code, { least: 0, most: 0 });
  }
  if (given.has('restart')) throw new JobError(codes.restartFailed, 'jobs and their contacts outlive the gatekeeper here: go on with the same contact, and register a new callback');
}

const needsProgram: readonly JobAttribute[] = ['arguments', 'environment', 'directory', 'stdin', 'file_stage_in', 'file_stage_in_shared', 'file_stage_out', 'file_clean_up', 'job_type'];

/** Without a program, these say that one was forgotten. stdout and stderr are added by globusrun -o itself. */
function refuseOrphans(given: Given): void {
  const lost = needsProgram.find((name) => given.has(name));
  if (lost !== undefined) throw new JobError(codes.undefinedExecutable, `${lost} is given, but no executable`);
}

/** Throws if the text cannot be a word of a command. */
function plain(text: string, name: string, code: number): string {
  if (text.includes('\0')) throw new JobError(code, `${name} holds a NUL character`);
  return text;
}

/** The relations by attribute, each known and given once. */
class Given {
  readonly clusterRelations: PlainRelation[] = [];
  readonly #jobs = new Map<JobAttribute, PlainRelation>();

  constructor(
    readonly text: string,
    variables: ReadonlyMap<string, string>,
  ) {
    const seen = new Set<string>();
    for (const relation of read(text, variables)) {
      const kind = attributeOf(relation.attribute);
      if (kind === 'unknown') throw new JobError(codes.parameterNotSupported, unknownAttribute(relation.attribute));
      if (relation.operator !== '=') throw new JobError(codes.badRsl, `${relation.attribute} is compared by ${relation.operator}; a job may only use =`);
      const name = canonicalName(relation.attribute);
      if (seen.has(name)) throw new JobError(codes.badRsl, `${relation.attribute} is given twice`);
      seen.add(name);
      if (kind === 'cluster-attribute') this.clusterRelations.push(relation);
      else if (kind !== 'ignored') this.#jobs.set(kind, relation);
    }
  }

  has(name: JobAttribute): boolean {
    return this.#jobs.has(name);
  }

  values(name: JobAttribute): PlainRelation['values'] {
    return this.#jobs.get(name)?.values ?? [];
  }

  /** Plain words; lists in parentheses are not. */
  words(name: JobAttribute | 'count' | 'max_wall_time' | 'lifetime', code: number): string[] {
    return (this.#relation(name)?.values ?? []).map((value) => {
      if (typeof value !== 'string') throw new JobError(code, `${name} takes words, not lists in parentheses`);
      return plain(value, name, code);
    });
  }

  word(name: JobAttribute | 'count' | 'max_wall_time' | 'lifetime', code: number): string | undefined {
    if (this.#relation(name) === undefined) return undefined;
    const words = this.words(name, code);
    if (words.length !== 1) throw new JobError(code, `${name} takes one value, it has ${words.length}`);
    return words[0];
  }

  number(name: JobAttribute | 'count' | 'max_wall_time' | 'lifetime', code: number, { least, most }: { least: number; most: number }): number | undefined {
    const text = this.word(name, code);
    if (text === undefined) return undefined;
    const value = /^\d{1,12}$/.test(text) ? Number(text) : NaN;
    if (!(value >= least && value <= most)) throw new JobError(code, `${name} is ${JSON.stringify(text.slice(0, 40))}; allowed: ${least === most ? least : `whole numbers from ${least} to ${most}`}`);
    return value;
  }

  flag(name: JobAttribute, code: number): boolean {
    const text = this.word(name, code)?.toLowerCase() ?? 'no';
    if (text !== 'yes' && text !== 'no') throw new JobError(code, `${name} is ${JSON.stringify(text.slice(0, 40))}; allowed: yes, no`);
    return text === 'yes';
  }

  #relation(name: string): PlainRelation | undefined {
    return this.#jobs.get(name as JobAttribute) ?? this.clusterRelations.find(({ attribute }) => canonicalName(attribute) === canonicalName(name));
  }
}

/** Relations without variables: 48 for bad RSL and requests of several parts, 39 for variables that nobody defined. */
function read(text: string, variables: ReadonlyMap<string, string>): PlainRelation[] {
  const attempt = <T>(code: number, work: () => T): T => {
    try {
      return work();
    } catch (error) {
      if (isGridError(error)) throw new JobError(code, error.hint === undefined ? error.message : `${error.message} (${error.hint})`);
      throw error;
    }
  };
  const relations = attempt(codes.badRsl, (): RslRelation[] => {
    const node: RslNode = parseRsl(text);
    return relationsOf(text, node);
  });
  return attempt(codes.evaluationFailed, () => substitute(text, relations, variables));
}

/** The RSL of the signal STDIO_UPDATE: new destinations of stdout, stderr or both. Throws JobError. */
export function readStdioUpdate(rsl: string, variables: ReadonlyMap<string, string>): Partial<Pick<Program, 'stdout' | 'stderr'>> {
  const allowed: ReadonlySet<string> = new Set(['stdout', 'stderr', 'stdout_position', 'stderr_position']);
  for (const { attribute } of read(rsl, variables)) {
    if (!allowed.has(attributeOf(attribute))) throw new JobError(codes.invalidStdioUpdate, `${attribute.slice(0, 64)} cannot be changed while the job runs; stdout and stderr can`);
  }
  const given = new Given(rsl, variables);
  return {
    ...(given.has('stdout') ? { stdout: destinationsOf(given.values('stdout'), 'stdout', codes.rslStdout) } : {}),
    ...(given.has('stderr') ? { stderr: destinationsOf(given.values('stderr'), 'stderr', codes.rslStderr) } : {}),
  };
}
