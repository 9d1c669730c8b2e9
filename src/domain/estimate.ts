/**
 * Model M0: the paper's straight line. Each stage's seconds are a line in one quantity (bytes or
 * items), fitted by least squares through past observations and two weak prior points, so that the
 * first request has an estimate too and the fifth no longer remembers the prior.
 * (SEED.md, "Choosing": install time by a straight line through past (package size, seconds) points.)
 */
import type { PlannedStage, Stage } from './plan.js';

export interface Observation {
  readonly stage: Stage;
  readonly bytes: number;
  readonly items: number;
  readonly seconds: number;
}

/** What a stage's time is a line in, and the line believed before anything was seen. */
interface Shape {
  readonly per: 'bytes' | 'items';
  /** Prior seconds at nothing, and at one `unit` more. */
  readonly base: number;
  readonly slope: number;
  readonly unit: number;
}

const MiB = 1024 * 1024;

/** Priors: measured once on 2 shared cores (docs/benchmarks.md); a site's own timings soon outweigh them. */
const shapes: Readonly<Record<Stage, Shape>> = {
  resolve: { per: 'items', base: 0.7, slope: 0, unit: 1 },
  base: { per: 'items', base: 30, slope: 0, unit: 1 },
  download: { per: 'bytes', base: 0.5, slope: 0.05, unit: MiB },
  install: { per: 'bytes', base: 2, slope: 0.35, unit: MiB },
  pack: { per: 'bytes', base: 0.3, slope: 0.04, unit: MiB },
  distribute: { per: 'bytes', base: 0.05, slope: 0.01, unit: MiB },
  launch: { per: 'items', base: 0.2, slope: 0.12, unit: 1 },
  join: { per: 'items', base: 0.5, slope: 0.03, unit: 1 },
  verify: { per: 'items', base: 0.2, slope: 0.03, unit: 1 },
};

const priorWeight = 0.5;

export interface Line {
  readonly base: number;
  readonly slope: number;
}

/** Least squares through the observations and the prior's two points (each worth half an observation). */
export function fitLine(stage: Stage, observations: readonly Observation[]): Line {
  const shape = shapes[stage];
  const seen = observations.filter((o) => o.stage === stage).map((o) => ({ x: o[shape.per] / shape.unit, y: o.seconds, w: 1 }));
  const typical = seen.length > 0 ? seen.reduce((sum, p) => sum + p.x, 0) / seen.length : 1;
  const prior = [typical * 0.5, typical * 1.5 + 1].map((x) => ({ x, y: shape.base + shape.slope * x, w: priorWeight }));
  const points = [...seen, ...prior];
  const weight = points.reduce((sum, p) => sum + p.w, 0);
  const meanX = points.reduce((sum, p) => sum + p.w * p.x, 0) / weight;
  const meanY = points.reduce((sum, p) => sum + p.w * p.y, 0) / weight;
  const spread = points.reduce((sum, p) => sum + p.w * (p.x - meanX) ** 2, 0);
  const together = points.reduce((sum, p) => sum + p.w * (p.x - meanX) * (p.y - meanY), 0);
  const slope = shape.slope === 0 || spread < 1e-9 ? 0 : Math.max(0, together / spread);
  return { base: Math.max(0, meanY - slope * meanX), slope };
}

/** Predicted seconds of one stage for its bytes and items. */
export function predictStage(work: { stage: Stage; bytes: number; items: number }, observations: readonly Observation[]): PlannedStage {
  const shape = shapes[work.stage];
  const line = fitLine(work.stage, observations);
  const seconds = line.base + (line.slope * work[shape.per]) / shape.unit;
  return { ...work, predicted: Math.round(seconds * 1000) / 1000 };
}
