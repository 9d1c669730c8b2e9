/** What the demo says about time. Pure. */
import type { ClusterView } from '../../domain/views.js';
import { stageTable } from '../stage-table.js';

export function timeline(cluster: ClusterView): string {
  return `${stageTable(cluster.stages)}\nrequest to verified ready: predicted ${cluster.predictedSeconds.toFixed(1)} s, measured ${(cluster.measuredSeconds ?? 0).toFixed(1)} s`;
}

/** True if packages were installed or a base was made for it; else its images came from the cache. */
export function wasBuilt(cluster: ClusterView): boolean {
  return cluster.stages.some(({ stage, elapsed }) => (stage === 'base' || stage === 'install') && (elapsed ?? 0) > 0);
}

/** The gain from the cache; if both came from it, that. */
export function compareRuns(first: ClusterView, second: ClusterView): string {
  const [before, after] = [first.measuredSeconds ?? 0, second.measuredSeconds ?? 0];
  if (!wasBuilt(first)) return `both came from the cache that an earlier run left: ${before.toFixed(1)} s and ${after.toFixed(1)} s (npm run demo -- --cold builds the images anew)`;
  return `built ${before.toFixed(1)} s, from the cache ${after.toFixed(1)} s: ${(before / after).toFixed(1)} times as fast`;
}
