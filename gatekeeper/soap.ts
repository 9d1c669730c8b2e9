/** The gatekeeper's SOAP operations: each takes its input apart, calls the port, and names the output. No rule is here. */
import type { IncomingMessage } from 'node:http';
import type { Express } from 'express';
import { GridError } from '../src/domain/error.js';
import type { RawRequest } from '../src/domain/request.js';
import type { Caller } from '../src/domain/views.js';
import type { Log } from '../src/log.js';
import type { ClusterService, DelegationService, SiteService } from '../src/ports.js';
import type { clusterOperations, RequestElements, siteOperations } from '../src/soap/contract.js';
import { services as contracts } from '../src/soap/contract.js';
import type { Handlers } from '../src/soap/server.js';
import { mountSoap } from '../src/soap/server.js';

/** The services behind the SOAP operations, and the two ways to read a request. */
export interface GatekeeperServices {
  readonly clusters: ClusterService;
  readonly delegation: DelegationService;
  readonly sites: SiteService;
  readonly fromRsl: (text: string) => RawRequest;
  readonly fromElements: (elements: Partial<RequestElements>) => RawRequest;
}

export interface MountOptions {
  readonly services: GatekeeperServices;
  readonly identify: (request: IncomingMessage) => Promise<Caller>;
  readonly bodyBytes: number | undefined;
  readonly log: Log;
}

/** Mounts /soap/cluster and /soap/site. */
export async function mountServices(app: Express, options: MountOptions): Promise<void> {
  const { services, identify, log } = options;
  const common = { identify, log, ...(options.bodyBytes === undefined ? {} : { bodyBytes: options.bodyBytes }) };
  await mountSoap(app, { ...common, service: contracts.cluster, path: '/soap/cluster', handlers: clusterHandlers(services) });
  await mountSoap(app, { ...common, service: contracts.site, path: '/soap/site', handlers: siteHandlers(services.sites) });
}

function clusterHandlers({ clusters, delegation, fromRsl, fromElements }: GatekeeperServices): Handlers<typeof clusterOperations, Caller> {
  const rawRequest = (input: { request?: RequestElements; rsl?: string }): RawRequest => {
    const { request, rsl } = input;
    if (rsl !== undefined && request === undefined) return fromRsl(rsl);
    if (request !== undefined && rsl === undefined) return fromElements(given(request));
    throw new GridError('bad-request', `${request === undefined ? 'neither' : 'both'} of the elements request and rsl are given`, { hint: 'give exactly one' });
  };
  return {
    plan: async (caller, input) => ({ plan: await clusters.plan(caller, rawRequest(input)) }),
    createCluster: async (caller, input) => ({ cluster: await clusters.createCluster(caller, input.key, rawRequest(input)) }),
    getCluster: async (caller, { id }) => ({ cluster: await clusters.getCluster(caller, id) }),
    listClusters: async (caller) => ({ clusters: await clusters.listClusters(caller) }),
    awaitEvents: async (caller, { id, after, seconds }) => ({ events: await clusters.awaitEvents(caller, id, after, seconds) }),
    extendLifetime: async (caller, { id, minutes }) => ({ cluster: await clusters.extendLifetime(caller, id, minutes) }),
    destroyCluster: async (caller, { id }) => ({ cluster: await clusters.destroyCluster(caller, id) }),
    getAccess: async (caller, { id }) => ({ access: await clusters.getAccess(caller, id) }),
    requestDelegation: (caller) => delegation.requestDelegation(caller),
    putDelegation: (caller, { id, chain }) => delegation.putDelegation(caller, id, chain),
  };
}

/** Without the empty lists that stand for elements which were not there. */
function given(request: RequestElements): Partial<RequestElements> {
  return Object.fromEntries(Object.entries(request).filter(([, value]) => value.length > 0));
}

function siteHandlers(sites: SiteService): Handlers<typeof siteOperations, Caller> {
  return {
    registerSite: async (caller, site) => ({ site: await sites.registerSite(caller, site) }),
    setSiteState: async (caller, { name, state }) => ({ site: await sites.setSiteState(caller, name, state) }),
    listSites: async (caller) => ({ sites: await sites.listSites(caller) }),
    unregisterSite: async (caller, { name }) => {
      await sites.unregisterSite(caller, name);
      return {};
    },
  };
}
