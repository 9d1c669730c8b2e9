/**
 * What the outside sees: the nouns of wsdl/cluster.wsdl, site.wsdl and head.wsdl, in the same
 * names. The SOAP contract (src/soap/contract.ts) checks documents against these types.
 */
import type { ClusterState } from './lifecycle.js';
import type { SitePlan, Stage } from './plan.js';

/** Who speaks, after identity and authorization. */
export interface Caller {
  /** Subject DN of the end-entity certificate, Globus style: /O=Grid/CN=Alice. */
  readonly subject: string;
  /** Account from the grid-mapfile, or "" for service callers. */
  readonly account: string;
  readonly roles: readonly Role[];
  /** DN of the authority that issued the end entity's certificate. */
  readonly issuer: string;
  /** Verified VOMS attributes, primary first: /vo/group/Role=x. */
  readonly fqans: readonly string[];
  /** The VO of the primary one, "" without any. */
  readonly vo: string;
  readonly limited: boolean;
  /** Unix ms at which the least-lived certificate of the chain ends. */
  readonly notAfter: number;
  /** Unix ms at which the end entity's own certificate ends: no proxy lasts longer. */
  readonly certificateNotAfter: number;
}

export const roles = ['user', 'site-admin', 'grid-admin'] as const;
export type Role = (typeof roles)[number];

export interface NodeView {
  readonly name: string;
  readonly site: string;
  readonly host: string;
  readonly overlayAddress: string;
  readonly state: 'planned' | 'running' | 'joined' | 'ready' | 'failed' | 'gone';
  readonly reason?: string;
}

/** Predicted and measured, for one stage of one site; `elapsed` grows while the stage runs. */
export interface StageView {
  readonly site: string;
  readonly stage: Stage;
  readonly predicted?: number;
  readonly elapsed?: number;
  readonly done: boolean;
}

export interface ClusterView {
  readonly id: string;
  readonly owner: string;
  readonly state: ClusterState;
  readonly reason?: string;
  readonly count: number;
  readonly ready: number;
  /** ISO 8601, UTC. */
  readonly created: string;
  readonly readyAt?: string;
  /** ISO time of the end of the lease. */
  readonly expires: string;
  /** Seconds from request to ready, before and after. */
  readonly predictedSeconds: number;
  readonly measuredSeconds?: number;
  readonly stages: readonly StageView[];
  readonly nodes: readonly NodeView[];
  /** E.g. "your proxy ends before the lease". */
  readonly warnings: readonly string[];
}

export interface EventView {
  readonly sequence: number;
  readonly at: string;
  readonly site: string;
  /** Node name, or "" if it is about the whole part. */
  readonly node: string;
  readonly kind: 'state' | 'stage-started' | 'stage-done' | 'node' | 'warning' | 'error';
  readonly text: string;
}

export interface AccessView {
  /** OpenVPN client profile with inline certificate and key. */
  readonly profile: string;
  /** MPI hostfile: one "name slots=N" a line. */
  readonly hostfile: string;
  /** OpenSSH known_hosts lines of all nodes. */
  readonly knownHosts: string;
  readonly loginUser: string;
  readonly nodes: readonly NodeView[];
}

export interface PlanView {
  readonly predictedSeconds: number;
  readonly sites: readonly SitePlan[];
}

export const siteStates = ['open', 'draining', 'closed'] as const;
export type SiteState = (typeof siteStates)[number];

export interface SiteView {
  readonly name: string;
  readonly url: string;
  /** Subject DN of the head's certificate. */
  readonly subject: string;
  readonly state: SiteState;
  /** False if the head did not answer in time. */
  readonly alive: boolean;
  readonly freeNodes: number;
  readonly freeMemory: number;
}

/** What a head says of itself, for the scheduler. */
export interface SiteSnapshot {
  readonly site: string;
  readonly releases: readonly string[];
  readonly bundles: readonly string[];
  /** Per open host: what is free now. */
  readonly hosts: readonly HostCapacity[];
}

export interface HostCapacity {
  readonly host: string;
  readonly freeMemory: number; // MiB
  readonly freeDisk: number; // MiB
  readonly vcpus: number;
}
