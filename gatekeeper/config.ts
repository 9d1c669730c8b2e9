/** The gatekeeper's configuration: raw YAML to a typed, frozen value; unknown and contradictory settings are refused by name. */
import { z } from 'zod';
import { readSettings } from '../src/settings.js';
import { defaultRequestLimits } from '../src/domain/request-check.js';
import { usualJobLimits } from './gram/job-limits.js';
import { parsePool } from '../src/overlay/addresses.js';

const absolute = z.string().startsWith('/', 'must be an absolute path');
const port = z.int().min(1).max(65535);
const MiB = 1024 * 1024;

const limits = z.strictObject({
  /** Bytes of one SOAP request. */
  bodyBytes: z.int().min(4096).default(4 * MiB),
  /** Bytes of one uploaded file, and of all of one owner. */
  uploadBytes: z.int().positive().default(64 * MiB),
  ownerUploadBytes: z.int().positive().default(1024 * MiB),
  /** Bytes of all inline files of a request together. */
  inlineBytes: z.int().positive().default(defaultRequestLimits.inlineBytes),
  connections: z.int().positive().default(2000),
  /** Nodes of one cluster; minutes of the longest lease. */
  count: z.int().positive().max(3000).default(defaultRequestLimits.count),
  lifetime: z.int().positive().default(defaultRequestLimits.lifetime),
  /** Of one owner at one time, where the quotas file says nothing else; memory in MiB. */
  clustersPerOwner: z.int().positive().default(50),
  nodesPerOwner: z.int().positive().default(2000),
  memoryPerOwner: z.int().positive().optional(),
  /** Seconds that a credential must last beyond the estimated build. */
  credentialMargin: z.int().nonnegative().default(300),
});

const overlay = z.strictObject({
  /** Host name or address of this gatekeeper as nodes reach it. */
  address: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.:-]{0,252}$/, 'must be a host name or an address'),
  ports: z.strictObject({ first: port, last: port }).refine(({ first, last }) => first <= last, 'first must not be after last'),
  pool: z.string().default('10.128.0.0/10'),
  prefix: z.int().default(20),
  ca: absolute,
  caKey: absolute,
});

/** What jobs may take; docs/gram.md tells how to size them. */
const gramJobs = z.strictObject({
  /** Of one owner, at one time. */
  jobsPerOwner: z.int().positive().default(usualJobLimits.jobsPerOwner),
  /** Bytes of one file that is staged in. */
  stageBytes: z.int().positive().default(usualJobLimits.stageBytes),
  /** Bytes that are kept of one output stream of a job, and for how many days. */
  keptBytes: z.int().positive().default(usualJobLimits.keptBytes),
  keptDays: z.int().positive().default(usualJobLimits.keptDays),
  /** Seconds that a client's listener may stay away once the job has ended. */
  patienceSeconds: z.int().positive().default(usualJobLimits.patienceSeconds),
  /** Jobs that begin at the same time; more wait. */
  starts: z.int().positive().default(usualJobLimits.starts),
});

/** Globus GRAM clients; without this section there is none. */
const gram = z.strictObject({
  host: z.string().default('0.0.0.0'),
  port: port.default(2119),
  /** Host name in job contacts; default: the first DNS name of the certificate. */
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$/, 'must be a host name').optional(),
  /** Whether callbacks and GASS may go to addresses of this machine alone; default: only if `host` is one. */
  loopback: z.boolean().optional(),
  jobs: gramJobs.prefault({}),
});

const schema = z.strictObject({
  listen: z.strictObject({ host: z.string().default('0.0.0.0'), port: z.int().min(0).max(65535).default(8443) }).prefault({}),
  gram: gram.optional(),
  home: absolute.refine((path) => path.length <= 75, 'is too long: unix sockets below it would not fit into 107 characters'),
  database: z.string().regex(/^postgres(ql)?:\/\//, 'must be a postgresql:// URL').optional(),
  certificate: absolute,
  key: absolute,
  trust: absolute,
  /** VOMS servers that are believed: VO/HOST.lsc or certificates. Without it no FQAN counts. */
  vomsdir: absolute.optional(),
  /** Whether an authority without a revocation list is believed. */
  crl: z.enum(['if-present', 'require']).default('if-present'),
  gridmap: absolute,
  bans: absolute.optional(),
  roles: absolute.optional(),
  rules: absolute.optional(),
  quotas: absolute.optional(),
  overlay,
  limits: limits.prefault({}),
  log: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
});

export type GatekeeperConfig = Readonly<z.infer<typeof schema>>;

/** @throws GridError bad-request listing every wrong setting with its path */
export function parseGatekeeperConfig(text: string, file: string): GatekeeperConfig {
  const settings = readSettings(text, file, schema);
  parsePool(settings.overlay.pool, settings.overlay.prefix);
  return settings;
}
