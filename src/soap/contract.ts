/**
 * Every operation of the four WSDLs: its input and output as shapes, in the names and order of types.xsd.
 * The types are those of src/domain/views.ts and src/ports.ts; the compiler checks that at the end of this file.
 */
import { hostKinds, hostStates } from '../domain/admin-views.js';
import type { EstimateExplanation, EstimateReport, HostRegistration, HostView } from '../domain/admin-views.js';
import { errorKinds } from '../domain/error.js';
import { layerKinds } from '../domain/image.js';
import { clusterStates } from '../domain/lifecycle.js';
import type { PartSpec } from '../domain/node.js';
import { stages } from '../domain/plan.js';
import type { SitePlan } from '../domain/plan.js';
import type { RequestFile } from '../domain/request.js';
import { siteStates } from '../domain/views.js';
import type { AccessView, ClusterView, EventView, PlanView, SiteSnapshot, SiteView } from '../domain/views.js';
import type { Collected, MeasuredStage, PartRequest, PartView, StoredImage, StoredImageDetails } from '../ports.js';
import { element, flag, list, maybe, real, text, whole, word } from './shape.js';
import type { Shape, Value } from './shape.js';

export const typesNamespace = 'urn:gridvc:types';

export const gridFault = element({ kind: word(errorKinds), message: text, hint: maybe(text), reference: maybe(text) });

// ---------------------------------------------------------------- nouns

const stage = word(stages);
const clusterState = word(clusterStates);

const nodeView = element({
  name: text, site: text, host: text, overlayAddress: text,
  state: word(['planned', 'running', 'joined', 'ready', 'failed', 'gone']),
  reason: maybe(text),
});
const stageView = element({ site: text, stage, predicted: maybe(real), elapsed: maybe(real), done: flag });
const clusterView = element({
  id: text, owner: text, state: clusterState, reason: maybe(text), count: whole, ready: whole,
  created: text, readyAt: maybe(text), expires: text, predictedSeconds: real, measuredSeconds: maybe(real),
  stages: list(stageView), nodes: list(nodeView), warnings: list(text),
});
const eventView = element({
  sequence: whole, at: text, site: text, node: text,
  kind: word(['state', 'stage-started', 'stage-done', 'node', 'warning', 'error']), text,
});
const accessView = element({ profile: text, hostfile: text, knownHosts: text, loginUser: text, nodes: list(nodeView) });
const plannedStage = element({ stage, predicted: maybe(real), bytes: whole, items: whole });
const planAlternative = element({ name: text, predicted: real, chosen: flag });
const sitePlan = element({ site: text, nodes: whole, stages: list(plannedStage), predicted: real, reason: text, alternatives: list(planAlternative) });
const planView = element({ predictedSeconds: real, sites: list(sitePlan) });
const siteView = element({ name: text, url: text, subject: text, state: word(siteStates), alive: flag, freeNodes: whole, freeMemory: whole });

const hostCapacity = element({ host: text, freeMemory: whole, freeDisk: whole, vcpus: whole });
const siteSnapshot = element({ site: text, releases: list(text), bundles: list(text), hosts: list(hostCapacity) });
const measuredStage = element({ stage, seconds: real, bytes: whole, items: whole });
const partNodeView = element({ name: text, host: text, state: word(['planned', 'running', 'failed', 'gone']), reason: maybe(text) });
const partView = element({ cluster: text, state: clusterState, reason: maybe(text), plan: sitePlan, measured: list(measuredStage), nodes: list(partNodeView) });

const partRequest = element({ memory: whole, disk: whole, vcpus: whole, os: text, packages: list(text), bundles: list(text), exact: maybe(flag) });
const nodeSpec = element({ name: text, overlayAddress: text, certificate: text, key: text, hostKey: text, hostKeyPublic: text });
const overlaySpec = element({ hubHost: text, hubPort: whole, ca: text, hubName: text, netmask: text });
const fileSource = element({ kind: word(['inline', 'upload']), base64: maybe(text), id: maybe(text) });
const requestFile = element({ path: text, mode: whole, source: fileSource });
const partSpec = element({
  cluster: text, owner: text, memory: whole, disk: whole, vcpus: whole, os: text, packages: list(text), bundles: list(text),
  exact: maybe(flag), expires: whole, minCount: whole, nodes: list(nodeSpec), overlay: overlaySpec, hosts: text, hostfile: text, knownHosts: text,
  authorizedKeys: list(text), clusterKey: text, clusterKeyPublic: text, files: list(requestFile),
});

const layerKind = word(layerKinds);
const storedFields = {
  name: text, kind: layerKind, os: text, packages: whole, bytes: whole, uses: whole, made: text, lastUsed: text, value: real, state: word(['fresh', 'stale']), inUse: flag,
};
const storedImage = element(storedFields);
const storedImageDetails = element({ ...storedFields, layers: list(element({ digest: text, kind: layerKind, bytes: whole })), contents: list(text) });
const collected = element({ removed: list(element({ what: text, where: text, bytes: whole, reason: text })), bytes: whole });
const modelReport = element({
  stage, model: text, used: flag, why: maybe(text), count: whole, meanError: real, p90Error: real, worstError: real, bias: real, meanSeconds: real, inside: real,
});
const estimateReport = element({ site: text, clusters: whole, models: list(modelReport) });
const stageExplanation = element({
  stage, model: maybe(text), predicted: maybe(real), low: maybe(real), high: maybe(real), measured: maybe(real), bytes: whole, items: whole,
  others: list(element({ model: text, predicted: real })),
});
const estimateExplanation = element({
  site: text, cluster: text, state: text, nodes: whole, created: text, reason: text, predicted: real, readyAfter: maybe(real), stages: list(stageExplanation),
  slowest: list(element({ package: text, version: text, seconds: real })),
});

/**
 * The request as elements. Values stay text here: gatekeeper/request checks them by the same rules, and in the same
 * words, as RSL. Only names are checked.
 */
const clusterRequest = element({
  count: maybe(text), minCount: maybe(text), memory: maybe(text), disk: maybe(text), vcpus: maybe(text), os: maybe(text),
  package: list(text), bundle: list(text), file: list(element({ path: text, mode: maybe(text), content: maybe(text), upload: maybe(text) })),
  lifetime: maybe(text), site: list(text), placement: maybe(text), onFailure: maybe(text), sshKey: list(text),
  exact: maybe(text),
});
export type RequestElements = Value<typeof clusterRequest>;
export type WirePartSpec = Value<typeof partSpec>;

// ---------------------------------------------------------------- operations

const hostView = element({
  name: text, kind: word(hostKinds), address: text, registered: flag, state: word(hostStates), usable: flag, memory: whole, disk: whole, vcpus: whole, freeMemory: whole, freeDisk: whole, nodes: whole,
  about: text, problems: list(text), checked: text,
});
const hostRegistration = element({
  name: text, kind: word(hostKinds), address: text, port: whole, user: text, key: text, hostKey: text, home: text, bridge: text, subnet: text, gateway: text, first: text, last: text,
  memory: maybe(whole), disk: maybe(whole), type: maybe(text),
});
const oneHost = element({ site: text, host: hostView });
const none = element({});
const request = { request: maybe(clusterRequest), rsl: maybe(text) };
const oneCluster = element({ cluster: clusterView });
const onePart = element({ part: partView });
const id = element({ id: text });
const part = element({ cluster: text });

export const clusterOperations = {
  plan: { input: element(request), output: element({ plan: planView }) },
  createCluster: { input: element({ key: text, ...request }), output: oneCluster },
  getCluster: { input: id, output: oneCluster },
  listClusters: { input: none, output: element({ clusters: list(clusterView) }) },
  awaitEvents: { input: element({ id: text, after: whole, seconds: whole }), output: element({ events: list(eventView) }) },
  extendLifetime: { input: element({ id: text, minutes: whole }), output: oneCluster },
  destroyCluster: { input: id, output: oneCluster },
  getAccess: { input: id, output: element({ access: accessView }) },
  requestDelegation: { input: none, output: element({ id: text, request: text }) },
  putDelegation: { input: element({ id: text, chain: text }), output: element({ notAfter: text }) },
};

export const siteOperations = {
  registerSite: { input: element({ name: text, url: text, subject: text }), output: element({ site: siteView }) },
  setSiteState: { input: element({ name: text, state: word(siteStates) }), output: element({ site: siteView }) },
  listSites: { input: none, output: element({ sites: list(siteView) }) },
  unregisterSite: { input: element({ name: text }), output: none },
};

export const headOperations = {
  snapshot: { input: none, output: element({ snapshot: siteSnapshot }) },
  plan: { input: element({ request: partRequest, nodes: whole }), output: element({ plan: sitePlan }) },
  check: { input: element({ request: partRequest }), output: none },
  createPart: { input: element({ spec: partSpec }), output: onePart },
  getPart: { input: part, output: onePart },
  awaitPartEvents: { input: element({ cluster: text, after: whole, seconds: whole }), output: element({ events: list(eventView) }) },
  confirmPart: { input: element({ cluster: text, stages: list(measuredStage), readyNodes: list(text) }), output: onePart },
  extendPart: { input: element({ cluster: text, expires: whole }), output: onePart },
  nodeConsole: { input: element({ cluster: text, node: text }), output: element({ text }) },
  destroyPart: { input: part, output: onePart },
};

/** Every answer names the site: an administrator may have several heads. */
export const adminOperations = {
  listImages: { input: none, output: element({ site: text, images: list(storedImage) }) },
  showImage: { input: element({ name: text }), output: element({ site: text, image: storedImageDetails }) },
  buildImage: { input: element({ os: text, packages: list(text), bundles: list(text) }), output: element({ site: text, image: storedImage }) },
  collectImages: { input: none, output: element({ site: text, collected }) },
  reportEstimates: { input: none, output: element({ report: estimateReport }) },
  listHosts: { input: none, output: element({ site: text, hosts: list(hostView) }) },
  addHost: { input: element({ host: hostRegistration }), output: oneHost },
  setHostState: { input: element({ name: text, state: word(hostStates) }), output: oneHost },
  removeHost: { input: element({ name: text }), output: element({ site: text }) },
  checkHost: { input: element({ name: text }), output: oneHost },
  explainEstimate: { input: part, output: element({ explanation: estimateExplanation }) },
};

export interface Operation {
  readonly input: Shape<object>;
  readonly output: Shape<object>;
}
export type Operations = Readonly<Record<string, Operation>>;

/** The four services: the WSDL's name, its namespace, its service and port name, its operations. */
export const services = {
  cluster: { wsdl: 'cluster', namespace: 'urn:gridvc:cluster', name: 'ClusterService', operations: clusterOperations },
  site: { wsdl: 'site', namespace: 'urn:gridvc:site', name: 'SiteService', operations: siteOperations },
  head: { wsdl: 'head', namespace: 'urn:gridvc:head', name: 'HeadService', operations: headOperations },
  admin: { wsdl: 'admin', namespace: 'urn:gridvc:admin', name: 'HeadAdmin', operations: adminOperations },
} as const;
export type ServiceName = keyof typeof services;

/** What a service needs to be served or called. */
export interface Service<O extends Operations = Operations> {
  readonly wsdl: string;
  readonly namespace: string;
  readonly name: string;
  readonly operations: O;
}

// ---------------------------------------------------------------- the one place where XML cannot say what the type says

/** A file's source on the wire -> the domain's union. Undefined if the element that its kind needs is not there. */
export function fileFromWire(file: Value<typeof requestFile>): RequestFile | undefined {
  const { kind, base64, id: upload } = file.source;
  const { path, mode } = file;
  if (kind === 'inline' && base64 !== undefined && upload === undefined) return { path, mode, source: { kind, base64 } };
  if (kind === 'upload' && upload !== undefined && base64 === undefined) return { path, mode, source: { kind, id: upload } };
  return undefined;
}

// ---------------------------------------------------------------- checked by the compiler: contract = domain

type Plain<T> = T extends readonly (infer E)[] ? Plain<E>[] : T extends object ? { -readonly [K in keyof T]: Plain<T[K]> } : T;
type Same<A, B> = (<X>() => X extends Plain<A> ? 1 : 2) extends <X>() => X extends Plain<B> ? 1 : 2 ? true : false;
const agrees = <T extends readonly true[]>(..._: T): void => undefined;
agrees<
  [
    Same<Value<typeof clusterView>, ClusterView>,
    Same<Value<typeof eventView>, EventView>,
    Same<Value<typeof accessView>, AccessView>,
    Same<Value<typeof planView>, PlanView>,
    Same<Value<typeof sitePlan>, SitePlan>,
    Same<Value<typeof siteView>, SiteView>,
    Same<Value<typeof siteSnapshot>, SiteSnapshot>,
    Same<Value<typeof partView>, PartView>,
    Same<Value<typeof measuredStage>, MeasuredStage>,
    Same<Value<typeof partRequest>, PartRequest>,
    Same<Omit<WirePartSpec, 'files'>, Omit<PartSpec, 'files'>>,
    Same<Value<typeof storedImage>, StoredImage>,
    Same<Value<typeof storedImageDetails>, StoredImageDetails>,
    Same<Value<typeof collected>, Collected>,
    Same<Value<typeof estimateReport>, EstimateReport>,
    Same<Value<typeof estimateExplanation>, EstimateExplanation>,
    Same<Value<typeof hostView>, HostView>,
    Same<Value<typeof hostRegistration>, HostRegistration>,
  ]
>(true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true);
