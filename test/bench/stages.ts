/** A cluster's stages as an aligned text table: predicted and measured seconds, per site. */
import type { StageView } from '../../src/domain/views.js';

export function predictedStages(stages: readonly StageView[]): string {
  const seconds = (value: number | undefined): string => (value === undefined ? '-' : value.toFixed(2)).padStart(9);
  const rows = stages.map((stage) => `  ${(stage.site || 'all').padEnd(8)}${stage.stage.padEnd(12)}${seconds(stage.predicted)}${seconds(stage.elapsed)}`);
  return [`  ${'site'.padEnd(8)}${'stage'.padEnd(12)}${'predicted'.padStart(9)}${'measured'.padStart(9)}`, ...rows].join('\n');
}
