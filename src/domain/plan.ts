/**
 * A plan is data before it is action: the dry run, the progress display, the log and the timing
 * table all show this same list.
 */

/** Stages in the order in which a cluster passes them. `resolve` to `launch` are the head's. */
export const stages = ['resolve', 'base', 'download', 'install', 'pack', 'distribute', 'launch', 'join', 'verify'] as const;
export type Stage = (typeof stages)[number];

export interface PlannedStage {
  readonly stage: Stage;
  /** Predicted seconds; undefined where the site has no observation yet. */
  readonly predicted?: number;
  /** Bytes and items (packages, hosts, nodes) that the prediction is made from. */
  readonly bytes: number;
  readonly items: number;
}

export interface SitePlan {
  readonly site: string;
  readonly nodes: number;
  readonly stages: readonly PlannedStage[];
  /** Sum of the predicted seconds. */
  readonly predicted: number;
  /** One line for people: which image, and why. */
  readonly reason: string;
  /** All images that could serve, with both ways of adding the rest; least predicted time first. */
  readonly alternatives: readonly PlanAlternative[];
}

/** One way to the asked software, and what it would take. */
export interface PlanAlternative {
  /** "cache image c3", "base image; the rest is installed in every node" */
  readonly name: string;
  /** Seconds from request to ready. */
  readonly predicted: number;
  readonly chosen: boolean;
}

/** Seconds from request to ready: the sites work side by side, so the slowest decides. */
export function predictedSeconds(plans: readonly SitePlan[]): number {
  return plans.reduce((most, plan) => Math.max(most, plan.predicted), 0);
}
