/**
 * The states of a cluster (gatekeeper) and of a part (head), and every allowed step between them.
 *
 *   accepted ──> building ──> launching ──> joining ──> ready ──> destroying ──> destroyed
 *       └────────────┴────────────┴────────────┴──────────────────────┘   ^
 *       └────────────┴────────────┴────────────┴──> failed ──────────────-┘
 *
 * A part runs through the same states; it is `joining` from the moment its nodes run until the
 * gatekeeper says that they are verified. `failed` keeps its reason and may be destroyed (its
 * resources are already undone when it gets there).
 */
import { GridError } from './error.js';

export const clusterStates = ['accepted', 'building', 'launching', 'joining', 'ready', 'destroying', 'destroyed', 'failed'] as const;
export type ClusterState = (typeof clusterStates)[number];

const allowed: Readonly<Record<ClusterState, readonly ClusterState[]>> = {
  accepted: ['building', 'destroying', 'failed'],
  building: ['launching', 'destroying', 'failed'],
  launching: ['joining', 'destroying', 'failed'],
  joining: ['ready', 'destroying', 'failed'],
  ready: ['destroying', 'failed'],
  destroying: ['destroyed', 'failed'],
  failed: ['destroying', 'destroyed'],
  destroyed: [],
};

/** True when nothing more will happen by itself. */
export function isFinal(state: ClusterState): boolean {
  return state === 'destroyed' || state === 'failed';
}

/** On the way up to ready: true if `state` has passed `than`. */
export function isFurther(state: ClusterState, than: ClusterState): boolean {
  const way: readonly ClusterState[] = ['accepted', 'building', 'launching', 'joining', 'ready'];
  return way.indexOf(state) > way.indexOf(than);
}

/** Refuses a step that the diagram does not have, naming both states. */
export function checkTransition(what: string, from: ClusterState, to: ClusterState): void {
  if (!allowed[from].includes(to)) {
    throw new GridError('wrong-state', `${what} is ${from} and cannot become ${to}`, {
      hint: `from ${from} it can become: ${allowed[from].join(', ') || 'nothing more'}`,
    });
  }
}
