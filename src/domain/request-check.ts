/**
 * From the attributes of a request, as they came, to a ClusterRequest, or a refusal by name. The table
 * of attributes below is also what help texts and messages are made from.
 */
import { GridError } from './error.js';
import { checkName, isName, type NameKind } from './names.js';
import { didYouMean } from './nearest.js';
import { canonicalName, failurePolicies, type ClusterRequest, type FailurePolicy, type RawFile, type RawRequest, type RequestFile } from './request.js';

interface AttributeBase {
  /** RSL name; the canonical form ignores case and `_`. */
  readonly name: string;
  /** Name of the XML element, repeated for lists. */
  readonly element: string;
  readonly meaning: string;
  /** In words, for help. */
  readonly default: string;
}

export interface NumberAttribute extends AttributeBase {
  readonly kind: 'number';
  readonly unit: string;
  readonly least: number;
  readonly most: number;
}

export interface ChoiceAttribute extends AttributeBase {
  readonly kind: 'choice';
  readonly choices: readonly string[];
}

export interface NamesAttribute extends AttributeBase {
  readonly kind: 'name' | 'names';
  readonly of: NameKind;
  /** How many at most. */
  readonly most: number;
}

export interface FilesAttribute extends AttributeBase {
  readonly kind: 'files';
  readonly most: number;
}

export type RequestAttribute = NumberAttribute | ChoiceAttribute | NamesAttribute | FilesAttribute;

/** What a site administrator may lower or raise; the rest of the table is fixed. */
export interface RequestLimits {
  readonly count: number;
  /** Minutes. */
  readonly lifetime: number;
  /** Bytes of all inline files together. */
  readonly inlineBytes: number;
}

export const defaultRequestLimits: RequestLimits = { count: 1000, lifetime: 10_080, inlineBytes: 1024 * 1024 };

export const placements = ['pack', 'spread'] as const;

/** Every attribute of a request: what help shows, and what checkRequest goes by. */
export function requestAttributes(limits: RequestLimits = defaultRequestLimits): readonly RequestAttribute[] {
  return [
    { name: 'count', element: 'count', kind: 'number', unit: 'nodes', least: 1, most: limits.count, default: 'must be given', meaning: 'nodes wanted' },
    { name: 'min_count', element: 'minCount', kind: 'number', unit: 'nodes', least: 1, most: limits.count, default: 'count', meaning: 'nodes that will do' },
    { name: 'memory', element: 'memory', kind: 'number', unit: 'MiB', least: 64, most: 1_048_576, default: '320', meaning: 'memory of each node' },
    { name: 'disk', element: 'disk', kind: 'number', unit: 'MiB', least: 64, most: 16_777_216, default: '1600', meaning: 'disk of each node' },
    { name: 'vcpus', element: 'vcpus', kind: 'number', unit: 'processors', least: 1, most: 256, default: '1', meaning: 'virtual processors of each node' },
    { name: 'os', element: 'os', kind: 'name', of: 'os', most: 1, default: 'bookworm', meaning: 'code name of the Debian release' },
    { name: 'packages', element: 'package', kind: 'names', of: 'package', most: 500, default: 'none', meaning: 'Debian packages to install' },
    { name: 'bundles', element: 'bundle', kind: 'names', of: 'bundle', most: 50, default: 'none', meaning: 'functions by name, such as mpi or c-dev, that each site defines' },
    { name: 'files', element: 'file', kind: 'files', most: 200, default: 'none', meaning: 'files to put into each node: ("/path" upload ID MODE) or ("/path" inline BASE64 MODE)' },
    { name: 'max_wall_time', element: 'lifetime', kind: 'number', unit: 'minutes', least: 1, most: limits.lifetime, default: '60', meaning: 'time from creation until everything is torn down' },
    { name: 'sites', element: 'site', kind: 'names', of: 'site', most: 32, default: 'any', meaning: 'sites that may be used, best first' },
    { name: 'placement', element: 'placement', kind: 'choice', choices: placements, default: 'pack', meaning: 'pack: as few sites as possible; spread: evenly over all of them' },
    { name: 'on_failure', element: 'onFailure', kind: 'choice', choices: failurePolicies, default: 'all, or minimum if min_count is below count', meaning: 'when some nodes fail: all or nothing, go on with min_count, go on with any' },
    { name: 'ssh_key', element: 'sshKey', kind: 'names', of: 'sshKey', most: 50, default: 'none', meaning: 'OpenSSH public keys that may log in on every node' },
    { name: 'exact', element: 'exact', kind: 'choice', choices: ['no', 'yes'], default: 'no', meaning: 'yes: the nodes have no package beyond those asked and their dependencies' },
  ];
}

/** Attributes of jobs, which come by GRAM (gatekeeper/gram/job-attributes.ts): known, so that the refusal says where they belong. */
const jobAttributes: readonly string[] = [
  'arguments', 'directory', 'dry_run', 'environment', 'executable', 'expiration', 'file_clean_up', 'file_stage_in', 'file_stage_in_shared', 'file_stage_out',
  'gass_cache', 'gram_my_job', 'host_count', 'job_type', 'library_path', 'max_cpu_time', 'max_memory', 'max_time', 'min_memory', 'project', 'proxy_timeout', 'queue',
  'remote_io_url', 'restart', 'save_state', 'scratch_dir', 'stderr', 'stderr_position', 'stdin', 'stdout', 'stdout_position', 'two_phase', 'username', 'job',
];

/**
 * Checks every rule that needs no site: names, ranges, contradictions.
 * @throws GridError bad-request (or too-large) naming the attribute, the value and what is allowed
 */
export function checkRequest(raw: RawRequest, limits: RequestLimits = defaultRequestLimits): ClusterRequest {
  const given = new Given(raw, requestAttributes(limits));
  const count = given.number('count');
  if (count === undefined) throw bad('count is missing', 'say how many nodes: count=2');
  const { minCount, onFailure } = checkFailure(count, given.number('min_count'), given.choice<FailurePolicy>('on_failure'));
  return {
    count,
    minCount,
    memory: given.number('memory') ?? 320,
    disk: given.number('disk') ?? 1600,
    vcpus: given.number('vcpus') ?? 1,
    os: given.names('os')[0] ?? 'bookworm',
    packages: given.names('packages'),
    bundles: given.names('bundles'),
    exact: given.choice('exact') === 'yes',
    files: checkFiles(raw.files, given.most('files'), limits),
    lifetime: given.number('max_wall_time') ?? 60,
    sites: given.names('sites'),
    placement: given.choice<(typeof placements)[number]>('placement') ?? 'pack',
    onFailure,
    sshKeys: given.names('ssh_key'),
  };
}

function bad(detail: string, hint?: string): GridError {
  return new GridError('bad-request', detail, hint === undefined ? {} : { hint });
}

function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
}

/** The values by attribute, each known and given once; white space around them is the document's, not theirs. */
class Given {
  readonly #attributes: ReadonlyMap<string, RequestAttribute>;
  readonly #values = new Map<string, readonly string[]>();

  constructor(raw: RawRequest, attributes: readonly RequestAttribute[]) {
    this.#attributes = new Map(attributes.map((attribute) => [attribute.name, attribute]));
    const byCanonical = new Map(attributes.flatMap((attribute) => [attribute.name, attribute.element].map((name) => [canonicalName(name), attribute] as const)));
    for (const [name, values] of raw.attributes) {
      const attribute = byCanonical.get(canonicalName(name));
      if (!attribute) throw unknownAttribute(name, attributes);
      if (attribute.kind === 'files') throw bad('files must be given as parts in parentheses', 'example: (files=("/etc/motd" inline aGVsbG8K 0644))');
      if (this.#values.has(attribute.name)) throw bad(`${attribute.name} is given twice (${attribute.name} and ${attribute.element} are the same)`);
      this.#values.set(attribute.name, values.map((value) => value.trim()));
    }
  }

  most(name: string): number {
    const attribute = this.#attributes.get(name);
    return attribute && 'most' in attribute ? attribute.most : 0;
  }

  number(name: string): number | undefined {
    const attribute = this.#attributes.get(name) as NumberAttribute;
    const text = this.#single(name);
    if (text === undefined) return undefined;
    const range = `allowed: whole numbers from ${attribute.least} to ${attribute.most} (${attribute.unit})`;
    if (!/^[0-9]+$/.test(text)) throw bad(`${name} is ${shown(text)}, not a whole number; ${range}`);
    const value = text.length > 15 ? Infinity : Number(text);
    if (value < attribute.least || value > attribute.most) throw bad(`${name} is ${shown(text).slice(1, -1)}; ${range}`);
    return value;
  }

  choice<T extends string>(name: string): T | undefined {
    const attribute = this.#attributes.get(name) as ChoiceAttribute;
    const text = this.#single(name);
    if (text !== undefined && !attribute.choices.includes(text)) throw bad(`${name} is ${shown(text)}; allowed: ${attribute.choices.join(', ')}`, didYouMean(text, attribute.choices));
    return text as T | undefined;
  }

  /** Checked names, each once; none if the attribute was not given. */
  names(name: string): readonly string[] {
    const attribute = this.#attributes.get(name) as NamesAttribute;
    const values = this.#values.get(name) ?? [];
    if (attribute.kind === 'name') this.#single(name);
    if (values.length > attribute.most) throw bad(`${name} has ${values.length} values; at most ${attribute.most} are allowed`);
    const seen = new Set<string>();
    for (const value of values) {
      checkValueName(name, attribute.of, value);
      if (seen.has(value)) throw bad(`${name} holds ${shown(value)} twice`);
      seen.add(value);
    }
    return [...values];
  }

  #single(name: string): string | undefined {
    const values = this.#values.get(name);
    if (values === undefined) return undefined;
    if (values.length !== 1) throw bad(`${name} takes one value, it has ${values.length}`);
    return values[0];
  }
}

function checkValueName(attribute: string, kind: NameKind, value: string): void {
  if (isName(kind, value)) return;
  try {
    checkName(kind, value);
  } catch (error) {
    if (error instanceof GridError) throw new GridError(error.kind, `${attribute}: ${error.message}`, error.hint === undefined ? {} : { hint: error.hint });
    throw error;
  }
}

function unknownAttribute(name: string, attributes: readonly RequestAttribute[]): GridError {
  const canonical = canonicalName(name);
  const job = jobAttributes.find((known) => canonicalName(known) === canonical);
  if (job !== undefined) return bad(`${job} is an attribute of jobs, not of clusters`, 'submit the job with globusrun (docs/gram.md), or create the cluster without it and use gridvc exec');
  const known = attributes.flatMap((attribute) => [...new Set([attribute.name, attribute.element])]);
  return bad(`${shown(name)} is not an attribute of a request`, didYouMean(name, known) ?? `known: ${attributes.map((attribute) => attribute.name).join(', ')}`);
}

/** What min_count and on_failure say together. */
function checkFailure(count: number, minimum: number | undefined, policy: FailurePolicy | undefined): { minCount: number; onFailure: FailurePolicy } {
  if (minimum !== undefined && minimum > count) throw bad(`min_count is ${minimum}, more than count, which is ${count}; allowed: 1 to ${count}`);
  const onFailure = policy ?? (minimum !== undefined && minimum < count ? 'minimum' : 'all');
  switch (onFailure) {
    case 'all':
      if (minimum !== undefined && minimum < count) throw bad(`min_count ${minimum} contradicts on_failure=all: all ${count} nodes are wanted`, 'use on_failure=minimum, or leave min_count out');
      return { minCount: count, onFailure };
    case 'minimum':
      if (minimum === undefined) throw bad('on_failure=minimum needs min_count', 'say how many nodes will do: min_count=2');
      return { minCount: minimum, onFailure };
    case 'any':
      if (minimum !== undefined && minimum !== 1) throw bad(`min_count ${minimum} contradicts on_failure=any: any node will do`, 'use on_failure=minimum, or leave min_count out');
      return { minCount: 1, onFailure };
    default:
      return onFailure satisfies never;
  }
}

const forbiddenPlaces = /^\/(proc|sys|dev)(\/|$)/;

function checkFiles(files: readonly RawFile[], most: number, limits: RequestLimits): readonly RequestFile[] {
  if (files.length > most) throw bad(`there are ${files.length} files; at most ${most} are allowed`);
  const checked = files.map(checkFile);
  const bytes = checked.reduce((sum, { source }) => sum + (source.kind === 'inline' ? Math.ceil((source.base64.length * 3) / 4) : 0), 0);
  if (bytes > limits.inlineBytes) throw new GridError('too-large', `the files in the request have ${bytes} bytes; at most ${limits.inlineBytes} are allowed`, { hint: 'send large files before (gridvc put) and name the upload' });
  const paths = new Set<string>();
  for (const { path } of checked) {
    if (paths.has(path)) throw bad(`the file ${path} is given twice`);
    paths.add(path);
  }
  for (const path of paths) {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      if (paths.has(path.slice(0, end))) throw bad(`${path.slice(0, end)} is given as a file, and ${path} needs it to be a directory`);
    }
  }
  return checked;
}

function checkFile(file: RawFile): RequestFile {
  checkValueName('files', 'path', file.path);
  if (forbiddenPlaces.test(file.path)) throw bad(`the file ${file.path} cannot be put there: /proc, /sys and /dev belong to the system`);
  const mode = file.mode ?? '0644';
  if (!/^[0-7]{3,4}$/.test(mode)) throw bad(`the mode of ${file.path} is ${shown(mode)}; allowed: three or four octal digits such as 0644`);
  return { path: file.path, mode: Number.parseInt(mode, 8), source: checkSource(file) };
}

function checkSource(file: RawFile): RequestFile['source'] {
  if (file.content !== undefined && file.upload !== undefined) throw bad(`the file ${file.path} has both content and an upload`);
  if (file.upload !== undefined) {
    checkValueName(`the file ${file.path}`, 'upload', file.upload);
    return { kind: 'upload', id: file.upload };
  }
  if (file.content === undefined) throw bad(`the file ${file.path} has neither content nor an upload`);
  const base64 = file.content.replaceAll(/[ \t\r\n]/g, '');
  if (base64.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) throw bad(`the content of the file ${file.path} is not base64`);
  return { kind: 'inline', base64 };
}
