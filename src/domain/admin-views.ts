/** What a head's administrator sees of its hosts and estimates (wsdl/admin.wsdl). Times are ISO texts, sizes bytes. */
import type { Stage } from './plan.js';

/** A compute host of the head. Memory and disk in MiB; free is what no node has. */
export interface HostView {
  readonly name: string;
  readonly kind: HostKind;
  /** "" for the head's own machine. */
  readonly address: string;
  /** False: it is in the configuration file, and only there it can be removed. */
  readonly registered: boolean;
  readonly state: HostState;
  /** Open, and nothing is amiss: nodes go there. */
  readonly usable: boolean;
  readonly memory: number;
  readonly disk: number;
  readonly vcpus: number;
  readonly freeMemory: number;
  readonly freeDisk: number;
  readonly nodes: number;
  /** Versions, as the last check found them. */
  readonly about: string;
  /** What it lacks and the command that mends it, one line each. */
  readonly problems: readonly string[];
  readonly checked: string;
}

export const hostKinds = ['container', 'xen'] as const;
export type HostKind = (typeof hostKinds)[number];
export const hostStates = ['open', 'draining'] as const;
export type HostState = (typeof hostStates)[number];

/** A host to be registered: reached by ssh, with a key file of the head, known by its public host key. */
export interface HostRegistration {
  readonly name: string;
  readonly kind: HostKind;
  readonly address: string;
  readonly port: number;
  readonly user: string;
  readonly key: string;
  readonly hostKey: string;
  readonly home: string;
  readonly bridge: string;
  readonly subnet: string;
  readonly gateway: string;
  readonly first: string;
  readonly last: string;
  /** MiB that nodes may have; default: what the host has free. */
  readonly memory?: number;
  readonly disk?: number;
  /** pv or pvh, for xen hosts; default: what the host can run, PV first. */
  readonly type?: string;
}

/** How good one model was at one stage, over this site's own past. Errors are shares of the measured seconds (0.1 = 10 %). */
export interface ModelReport {
  readonly stage: Stage;
  /** "as planned" in a stage with several models: each time the one that the plan went by. */
  readonly model: string;
  /** The plans of today go by it; `why` says why. */
  readonly used: boolean;
  readonly why?: string;
  readonly count: number;
  readonly meanError: number;
  readonly p90Error: number;
  readonly worstError: number;
  /** Mean of signed errors: above 0 it said too much. */
  readonly bias: number;
  /** Mean absolute error in seconds. */
  readonly meanSeconds: number;
  /** Share of measurements that lay inside the 90 % interval. */
  readonly inside: number;
}

export interface EstimateReport {
  readonly site: string;
  /** Clusters with at least one stage predicted and measured. */
  readonly clusters: number;
  readonly models: readonly ModelReport[];
}

export interface StageExplanation {
  readonly stage: Stage;
  readonly model?: string;
  readonly predicted?: number;
  /** 90 % interval. */
  readonly low?: number;
  readonly high?: number;
  readonly measured?: number;
  readonly bytes: number;
  readonly items: number;
  /** What the other models said. */
  readonly others: readonly { readonly model: string; readonly predicted: number }[];
}

export interface EstimateExplanation {
  readonly site: string;
  readonly cluster: string;
  readonly state: string;
  readonly nodes: number;
  readonly created: string;
  /** Why this image. */
  readonly reason: string;
  /** Sum of the stages that this site passes one after the other. */
  readonly predicted: number;
  /** Seconds from the request's arrival at this head to `ready`, by the clock. */
  readonly readyAfter?: number;
  readonly stages: readonly StageExplanation[];
  /** The ten packages that took longest, all phases together; empty if nothing was installed for it. */
  readonly slowest: readonly { readonly package: string; readonly version: string; readonly seconds: number }[];
}
