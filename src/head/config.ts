/** The head's configuration: raw YAML to a typed, frozen value; unknown and contradictory settings are refused by name. */
import { z } from 'zod';
import { GridError } from '../domain/error.js';
import { readSettings } from '../settings.js';
import { isName } from '../domain/names.js';

const ipv4 = z.ipv4();
const subject = z.string().startsWith('/', 'must be a subject DN such as /O=Grid/CN=host');
const absolute = z.string().startsWith('/', 'must be an absolute path');

const ssh = z.strictObject({
  kind: z.literal('ssh'),
  address: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.:-]{0,252}$/, 'must be a host name or an address'),
  port: z.int().min(1).max(65535).default(22),
  user: z.string().regex(/^[a-z_][a-z0-9_-]{0,31}$/).default('root'),
  /** Private key on the head. */
  key: absolute,
  /** A known_hosts file on the head, or the host's own public key: "ssh-ed25519 AAAA...". One of them. */
  knownHosts: absolute.optional(),
  hostKey: z.string().refine((line) => isName('sshKey', line), 'must be one line of an OpenSSH public key').optional(),
});

const transport = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('local'), netns: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/).optional() }),
  ssh.refine((to) => (to.knownHosts === undefined) !== (to.hostKey === undefined), 'needs either knownHosts (a file) or hostKey (a public key)'),
]);

const host = z
  .strictObject({
    name: z.string().regex(/^[a-z][a-z0-9.-]{0,63}$/),
    kind: z.enum(['container', 'xen']),
    transport,
    home: absolute,
    network: z.strictObject({ bridge: z.string().regex(/^[a-z][a-z0-9-]{0,14}$/), subnet: z.cidrv4(), gateway: ipv4, first: ipv4, last: ipv4 }),
    memory: z.int().positive().optional(),
    disk: z.int().positive().optional(),
    /** Kind of domains on a dom0; default: what the host can run, PV first. */
    type: z.enum(['pv', 'pvh']).optional(),
  })
  .refine((one) => one.kind === 'xen' || one.type === undefined, { path: ['type'], error: 'is a setting of xen hosts only' });

/** The cache repository: docs/cache.md. */
const cache = z.strictObject({
  /** saved-time: images that would have saved most predicted time; popular: the paper's rule; none: only what requests leave. */
  rule: z.enum(['saved-time', 'popular', 'none']).default('saved-time'),
  /** MB of all layers above the bases. */
  megabytes: z.int().min(0).max(100_000_000).default(4000),
  /** N: the last requests that count. */
  requests: z.int().min(1).max(5000).default(200),
  /** M of the rule popular. */
  percent: z.number().gt(0).max(100).default(50),
  /** An image is made if it would have saved at least so many seconds over those requests. */
  leastSeconds: z.number().min(0).default(10),
  /** Seconds without a request before idle work begins. */
  idleSeconds: z.number().min(0).default(60),
  /** MB of fetched .debs that are kept. */
  archiveMegabytes: z.int().min(0).default(2000),
  /** Hours after which every byte of a layer is read and compared again. */
  verifyHours: z.number().positive().default(24),
});
export type CacheConfig = Readonly<z.infer<typeof cache>>;

const build = z.strictObject({
  /** MiB of memory that one build of a layer may take; default: half of what is free. What does not fit is built on the disk; 0: everything. */
  memory: z.int().min(0).optional(),
});

const schema = z.strictObject({
  site: z.string().refine((name) => isName('site', name), 'must match [a-z][a-z0-9-]*, at most 32 characters'),
  listen: z.strictObject({ host: z.string().default('0.0.0.0'), port: z.int().min(0).max(65535) }),
  home: absolute,
  database: z.string().optional(),
  certificate: absolute,
  key: absolute,
  trust: absolute,
  gatekeeper: subject,
  administrators: z.array(subject).default([]),
  releases: z.array(z.string().refine((name) => isName('os', name), 'must be a Debian code name')).min(1).default(['bookworm']),
  apt: z.strictObject({ sources: absolute.optional(), maxAgeSeconds: z.int().positive().default(6 * 3600) }).prefault({}),
  bundles: z.record(z.string().refine((name) => isName('bundle', name), 'bad bundle name'), z.array(z.string().refine((name) => isName('package', name), 'bad package name'))).default({}),
  cache: cache.prefault({}),
  build: build.prefault({}),
  /** Others may be registered while the head runs (gridvc host add). */
  hosts: z.array(host).default([]),
  log: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
});

export type HeadConfig = Readonly<z.infer<typeof schema>>;
export type HostConfig = Readonly<z.infer<typeof host>>;

/** Settings of one host from outside (a registration), as strict as those of the file. @throws GridError bad-request naming each wrong one */
export function parseHost(value: unknown): HostConfig {
  const parsed = host.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new GridError('bad-request', `the host's settings: ${parsed.error.issues.map((issue) => `${issue.path.join('.') || 'host'}: ${issue.message}`).join('; ')}`);
}

/** @throws GridError bad-request listing every wrong setting with its path */
export function parseHeadConfig(text: string, file: string): HeadConfig {
  const settings = readSettings(text, file, schema);
  const names = settings.hosts.map((h) => h.name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new GridError('bad-request', `${file}: host ${twice} is there twice`);
  return settings;
}
