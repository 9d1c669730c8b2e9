/**
 * Every swappable interface of gridvc, on one page. Each comment says what may be repeated, what
 * "not there" returns and which deadline holds. All failures are GridErrors.
 * `signal` ends the work early: the call then rejects with `interrupted` and leaves nothing running.
 */
import type { ClusterRequest, RawRequest } from './domain/request.js';
import type { Layer, PackageTiming, Resolution } from './domain/image.js';
import type { NodeDefinition, NodeId, NodeStatus, PartSpec } from './domain/node.js';
import type { SitePlan, Stage } from './domain/plan.js';
import type { ClusterState } from './domain/lifecycle.js';
import type { EstimateExplanation, EstimateReport, HostRegistration, HostState, HostView } from './domain/admin-views.js';
import type { AccessView, Caller, ClusterView, EventView, PlanView, SiteSnapshot, SiteState, SiteView } from './domain/views.js';

// ---------------------------------------------------------------- machines

/** The finished run of a command: a value, not an exception. */
export interface CommandResult {
  readonly argv: readonly string[];
  /** Exit code, or undefined if a signal or a deadline ended it. */
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
  /** "" on success, else one line for a person: what ran, where, how it ended, last line of stderr. */
  readonly reason: string;
}

export interface RunOptions {
  readonly input?: string | Uint8Array | AsyncIterable<Uint8Array>;
  /** Default 60. TERM at the deadline, KILL of the process group 2 s later. */
  readonly seconds?: number;
  readonly signal?: AbortSignal;
}

export interface PutOptions {
  /** Default 0644. */
  readonly mode?: number;
  /** SHA-256, hexadecimal: a file with another one is not kept there (`unavailable`). Computed while it is sent. */
  readonly digest?: string;
  readonly signal?: AbortSignal;
}

/**
 * Reaches one compute host. `run` never throws for a non-zero exit; it throws `unavailable` if the host cannot be reached, and
 * AnswerUnknown (domain/error.ts) if the connection was lost while the command ran.
 */
export interface NodeTransport {
  readonly host: string;
  /** argv only; a transport that needs a shell (ssh) quotes each word itself. LC_ALL=C, PATH fixed. */
  run(argv: readonly string[], options?: RunOptions): Promise<CommandResult>;
  /** Streams a local file to an absolute path on the host: written beside it, checked, fsynced, renamed. Repeatable. */
  putFile(local: string, remote: string, options?: PutOptions): Promise<{ bytes: number }>;
  close(): Promise<void>;
}

export interface HostCheck {
  readonly ok: boolean;
  /** One line each: what is missing and the command that mends it. */
  readonly problems: readonly string[];
  readonly memory: number; // MiB
  readonly disk: number; // MiB free where node disks live
  readonly vcpus: number;
  /** One line for people: versions. */
  readonly about?: string;
}

/** Runs nodes on one host. Every call may be repeated after a crash and then does only what is left to do. */
export interface HypervisorDriver {
  readonly kind: string;
  /** Its nodes are machines of their own: NodeDefinition.kernel must be there. */
  readonly bootsKernel?: boolean;
  check(): Promise<HostCheck>;
  /** Every node of ours on this host, whichever cluster, also half-made ones (state `defined`). */
  list(): Promise<readonly NodeStatus[]>;
  /** Writes the node's disk and context. Defining again replaces what was there, unless it runs. */
  define(node: NodeDefinition): Promise<void>;
  /** Starts a defined node; a running one is left alone. `not-found` if it was never defined. */
  start(id: NodeId): Promise<void>;
  /** TERM, then KILL after `graceSeconds` (default 2). A node that does not run is left alone. */
  stop(id: NodeId, graceSeconds?: number): Promise<void>;
  /** Stops it and releases all it had: disk, mounts, namespace, links, cgroup. Unknown node: nothing happens. */
  remove(id: NodeId): Promise<void>;
}

/** Optional: a driver that can show why a node did not come up. */
export interface ConsoleReader {
  /** Last lines of the node's console log, "" if there is none. */
  console(id: NodeId): Promise<string>;
}

/** Brings layers to hosts. A layer that a host has is not sent again. */
export interface Distributor {
  /** Returns bytes really sent. On return every host has every layer, whole (digest checked by the receiver). */
  distribute(layers: readonly Layer[], hosts: readonly NodeTransport[], signal?: AbortSignal): Promise<{ bytes: number }>;
  /** What a host has, from memory where it can. `links`: nothing is sent to it, it shares the head's files. `unavailable` if it does not answer. */
  held(host: NodeTransport, signal?: AbortSignal): Promise<{ readonly digests: ReadonlySet<string>; readonly links: boolean }>;
  /** Removes layers from a host, but none that a node there has open. Returns those that went. Repeatable. */
  drop(digests: readonly string[], host: NodeTransport, signal?: AbortSignal): Promise<readonly { readonly digest: string; readonly bytes: number }[]>;
}

// ---------------------------------------------------------------- images

/** Debian packages as real apt sees them, for the site's sources. */
export interface Catalogue {
  /** Refreshes the lists if they are older than `maxAgeSeconds`. */
  update(os: string, maxAgeSeconds: number, signal?: AbortSignal): Promise<void>;
  /**
   * Closure of `asked` on top of the base layer.
   * Refuses with bad-request: unknown package (hint: near names), conflicting packages (apt's own words).
   */
  resolve(os: string, base: BaseImage, asked: readonly string[], signal?: AbortSignal): Promise<Resolution>;
  /** Newest version of each package that the lists have, as apt would install it; unknown names are left out. */
  newest(os: string, names: readonly string[], signal?: AbortSignal): Promise<ReadonlyMap<string, string>>;
  /** What each of these packages depends on directly, among them. */
  needs(os: string, names: readonly string[], signal?: AbortSignal): Promise<ReadonlyMap<string, readonly string[]>>;
  /** When the lists were last refreshed, in ms since 1970; 0: never. */
  updatedAt(os: string): Promise<number>;
  /** bad-request with near names for names that are certainly unknown; milliseconds. Without lists yet, nothing is refused. */
  checkNames(os: string, names: readonly string[]): Promise<void>;
  releases(): readonly string[];
}

export interface BaseImage extends Layer {
  readonly os: string;
}

/** Progress of a build, for events: the stage that now runs and a line for people. */
export type BuildProgress = (stage: Stage, text: string) => void;

export interface BuiltDelta {
  readonly layer: Layer;
  readonly stages: readonly MeasuredStage[];
  readonly packages: readonly PackageTiming[];
}

export interface MeasuredStage {
  readonly stage: Stage;
  readonly seconds: number;
  readonly bytes: number;
  readonly items: number;
}

export interface BuildOptions {
  readonly signal: AbortSignal;
  readonly progress: BuildProgress;
  /** Cache layers between the base and what is built, lowest first. */
  readonly above?: readonly Layer[];
  /** True: at the lowest priority, for work that nobody waits for. */
  readonly idle?: boolean;
  /** What the layer is made for: a request (delta, the default) or the cache. */
  readonly kind?: 'cache' | 'delta';
}

/** Makes layers. A failed or interrupted build leaves no mount, process, namespace or half layer. */
export interface ImageBuilder {
  /** Digest of all that decides how a base is made; a base of another recipe is not used. */
  readonly recipe: string;
  base(os: string, options: BuildOptions): Promise<{ layer: BaseImage; stages: readonly MeasuredStage[] }>;
  /** Installs resolution.packages over `base` (and `options.above`) with real apt and dpkg. `build-failed` names the package and shows the log's tail. */
  delta(resolution: Resolution, base: BaseImage, options: BuildOptions): Promise<BuiltDelta>;
  /** A layer that only holds the .debs of resolution.packages: each node that has it installs them when it boots (src/node/init.ts). */
  debs(resolution: Resolution, base: BaseImage, options: BuildOptions): Promise<{ layer: Layer; stages: readonly MeasuredStage[] }>;
  /** Absolute path of a layer file on the head. */
  path(digest: string): string;
  /** True if the layer file is there with the size that was noted when it was made: a cheap look, for each use. */
  has(digest: string): Promise<boolean>;
  /** True if every byte is as it was when it was made. Reads the whole file. */
  verify(digest: string, signal: AbortSignal): Promise<boolean>;
  /** name=version of the packages in a layer, as noted when it was made. */
  contents(digest: string): Promise<readonly string[]>;
  /** Digests of all layer files here, also of those that no row knows. */
  digests(): Promise<readonly string[]>;
  /** Bytes that it freed; 0 if there was none. */
  remove(digest: string): Promise<number>;
  /** Removes fetched .debs, longest unused first, until at most so many bytes are left. Returns bytes freed. */
  trimArchives(bytes: number): Promise<number>;
}

/** One image that a head holds: layers above a base, or (kind `base`) the base itself. */
export interface StoredImage {
  /** Short name for people: c3 (made in idle time), d12 (made for a request), b1 (base). */
  readonly name: string;
  readonly kind: Layer['kind'];
  readonly os: string;
  /** Packages above the base; for a base, all it has. */
  readonly packages: number;
  /** Bytes of its layers above the base; for a base, its own. */
  readonly bytes: number;
  readonly uses: number;
  /** ISO 8601, UTC. */
  readonly made: string;
  readonly lastUsed: string;
  /** Predicted seconds that it would have saved over the remembered requests, the other images being there. */
  readonly value: number;
  /** stale: newer versions are in the lists, no request uses it any more. */
  readonly state: 'fresh' | 'stale';
  /** Some node or build needs it now. */
  readonly inUse: boolean;
}

export interface StoredImageDetails extends StoredImage {
  /** Lowest first. */
  readonly layers: readonly Layer[];
  /** name=version, above the base, sorted. */
  readonly contents: readonly string[];
}

/** What a collection removed. */
export interface Collected {
  readonly removed: readonly { readonly what: string; readonly where: string; readonly bytes: number; readonly reason: string }[];
  readonly bytes: number;
}

/** The cache repository of one head, for its administrator. */
export interface Repository {
  /** All images, most valuable first. */
  images(): Promise<readonly StoredImage[]>;
  /** By name (c3); not-found says how to list them. */
  image(name: string): Promise<StoredImageDetails>;
  /**
   * Makes a cache image of the closure of these packages and bundles now, at low priority; a bring-up that needs the machine is not held up.
   * Returns the one that is there if it holds them already. Refuses like Catalogue.resolve; `wrong-state` while a request is at work.
   */
  build(asked: { readonly os: string; readonly packages: readonly string[]; readonly bundles: readonly string[] }, signal: AbortSignal): Promise<StoredImage>;
  /** Removes what is stale, over the budget or needed by nothing: images, layers on the head and on its hosts, .debs. Nothing in use. Repeatable. */
  collect(): Promise<Collected>;
}

/** Prepares the kernels of nodes that are machines of their own, each as a layer (domain/image.ts). */
export interface KernelBuilder {
  /** Digest of all that decides the kernel layer of a release: package versions, our first program. Milliseconds, once the lists were read. */
  recipe(os: string): Promise<string>;
  /** Minutes at most. A failed or interrupted build leaves nothing. */
  build(os: string, options: { signal: AbortSignal }): Promise<Layer>;
  has(digest: string): Promise<boolean>;
}

// ---------------------------------------------------------------- services (the four WSDLs)

/** wsdl/cluster.wsdl. Another owner's cluster id answers exactly as one that does not exist. */
export interface ClusterService {
  plan(caller: Caller, request: RawRequest): Promise<PlanView>;
  /** The same key with the same request returns the same cluster; with another one: `conflict`. */
  createCluster(caller: Caller, key: string, request: RawRequest): Promise<ClusterView>;
  getCluster(caller: Caller, id: string): Promise<ClusterView>;
  listClusters(caller: Caller): Promise<readonly ClusterView[]>;
  /** Long poll: returns at once if there are events after `after`, else when one comes or after `seconds` (at most 60) with none. */
  awaitEvents(caller: Caller, id: string, after: number, seconds: number): Promise<readonly EventView[]>;
  /** New end of the lease = now + minutes. */
  extendLifetime(caller: Caller, id: string, minutes: number): Promise<ClusterView>;
  /** Returns at once, state `destroying`; repeatable. */
  destroyCluster(caller: Caller, id: string): Promise<ClusterView>;
  /** A fresh overlay certificate for the caller each time; wrong-state unless ready. */
  getAccess(caller: Caller, id: string): Promise<AccessView>;
}

/** Delegation (cluster.wsdl): the gatekeeper keeps a proxy of the caller, to know how long it may act for them. */
export interface DelegationService {
  /** A fresh EC P-256 key stays here (0600); the caller signs the PKCS#10 request (PEM). */
  requestDelegation(caller: Caller): Promise<{ id: string; request: string }>;
  /** PEM chain, new proxy first. Refused unless it validates, fits the key and names the caller. Replaces an earlier one. */
  putDelegation(caller: Caller, id: string, chain: string): Promise<{ notAfter: string }>;
}

/** Files sent before the request, by HTTPS PUT /files; an upload belongs to its owner and dies after a day if unused. */
export interface UploadStore {
  put(caller: Caller, body: AsyncIterable<Uint8Array>): Promise<{ id: string; bytes: number; sha256: string }>;
  /** Bytes of an upload; not-found for another owner's as for none. */
  size(owner: string, id: string): Promise<number>;
  /** not-found like size. */
  read(owner: string, id: string): Promise<Uint8Array>;
}

/** A byte stream to port 22 of a node over the overlay, for `gridvc ssh`. */
export interface NodeDialer {
  dial(caller: Caller, cluster: string, node: string): Promise<import('node:stream').Duplex>;
}

/** wsdl/site.wsdl. All but listSites need the role site-admin or grid-admin. */
export interface SiteService {
  /** Registers or updates; the head at `url` must answer with this subject, and serve this name. */
  registerSite(caller: Caller, site: { name: string; url: string; subject: string }): Promise<SiteView>;
  setSiteState(caller: Caller, name: string, state: SiteState): Promise<SiteView>;
  listSites(caller: Caller): Promise<readonly SiteView[]>;
  /** Refused (`wrong-state`) while clusters have nodes there. */
  unregisterSite(caller: Caller, name: string): Promise<void>;
}

export type PartRequest = Pick<ClusterRequest, 'memory' | 'disk' | 'vcpus' | 'os' | 'packages' | 'bundles'> & Partial<Pick<ClusterRequest, 'exact'>>;

export interface PartView {
  readonly cluster: string;
  readonly state: ClusterState;
  readonly reason?: string;
  readonly plan: SitePlan;
  readonly measured: readonly MeasuredStage[];
  readonly nodes: readonly PartNodeView[];
}

export interface PartNodeView {
  readonly name: string;
  readonly host: string;
  readonly state: 'planned' | 'running' | 'failed' | 'gone';
  readonly reason?: string;
}

/** wsdl/head.wsdl: gatekeeper -> head. The part's key is its cluster id. */
export interface HeadService {
  snapshot(): Promise<SiteSnapshot>;
  /** Refuses at once, in milliseconds, an unknown release, bundle or package. What only a resolution can tell, plan and createPart tell. */
  check(request: PartRequest): Promise<void>;
  /** Checks packages and bundles for real and predicts each stage. Changes nothing. */
  plan(request: PartRequest, nodes: number): Promise<SitePlan>;
  /** Idempotent by spec.cluster. Returns once the part is stored; the bring-up goes on by itself. */
  createPart(spec: PartSpec): Promise<PartView>;
  getPart(cluster: string): Promise<PartView>;
  /** Long poll like awaitEvents. */
  awaitPartEvents(cluster: string, after: number, seconds: number): Promise<readonly EventView[]>;
  /** The gatekeeper's verdict: stages join and verify measured, nodes verified; the part becomes `ready`. */
  confirmPart(cluster: string, stages: readonly MeasuredStage[], readyNodes: readonly string[]): Promise<PartView>;
  extendPart(cluster: string, expires: number): Promise<PartView>;
  /** Last lines of a node's console, "" if there are none or its host does not answer in a few seconds. */
  nodeConsole(cluster: string, node: string): Promise<string>;
  /** Returns at once; repeatable; an unknown part is `destroyed`. */
  destroyPart(cluster: string): Promise<PartView>;
}

/**
 * wsdl/admin.wsdl: a head's own administrator -> head. One small port for each area; src/head/admin-soap.ts maps operations to them.
 * Callers are the head's own subject and the configuration's `administrators`.
 */
export interface HeadAdmin {
  readonly site: string;
  readonly images: Repository;
  readonly estimates: EstimateAdmin;
  readonly hosts: HostAdmin;
}

/** Hosts registered while the head runs; those of its configuration file are shown beside them. Unknown names: not-found, naming those there are. */
export interface HostAdmin {
  list(): Promise<readonly HostView[]>;
  /** Registers, or changes a registration; looks at the host at once. A host with problems is kept and gets no nodes until they are mended. `conflict` with the file. */
  add(host: HostRegistration): Promise<HostView>;
  /** draining: what runs there goes on, nothing new comes. */
  setState(name: string, state: HostState): Promise<HostView>;
  /** wrong-state while it has nodes, or if the configuration file has it. */
  remove(name: string): Promise<void>;
  /** Looks now. */
  check(name: string): Promise<HostView>;
}

export interface EstimateAdmin {
  /** Every model against this site's own past; changes nothing. */
  report(): Promise<EstimateReport>;
  /** not-found for a cluster that never had a part here. */
  explain(cluster: string): Promise<EstimateExplanation>;
}
