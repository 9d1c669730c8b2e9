/**
 * What this site has learned about time. The rows of `timings` and `package_timings` are the truth;
 * the models (domain/estimate) are folded from them, at first all recent ones, then only what came since.
 */
import { availableParallelism } from 'node:os';
import { coldSite, learn, type Observation, type Prediction, type SiteModels } from '../domain/estimate/site.js';
import type { PackageTiming } from '../domain/image.js';
import type { Stage } from '../domain/plan.js';
import type { Database } from '../store/database.js';

interface TimingRow {
  readonly id: number;
  readonly cluster: string;
  readonly stage: Stage;
  readonly bytes: number;
  readonly items: number;
  readonly seconds: number;
  readonly image: string | null;
  readonly installed: number;
  readonly concurrency: number;
  readonly place: 'head' | 'nodes';
  readonly expected: number | null;
}

export class SiteClock {
  private learned: Promise<{ models: SiteModels; last: number }> = Promise.resolve({ models: coldSite, last: 0 });

  /** @param processors of the head: works beyond that number take longer by their share */
  constructor(
    private readonly db: Database,
    private readonly processors: number = availableParallelism(),
  ) {}

  /** The models with every row so far. Rows whose database fails now are read the next time. */
  async models(): Promise<SiteModels> {
    const before = this.learned;
    const next = before.then(({ models, last }) => this.catchUp(models, last));
    this.learned = next.catch(() => before);
    return (await next).models;
  }

  /** Stores what all models predict for a part; the first of each stage is the one its plan goes by. A resumed part keeps its first word. */
  async keep(cluster: string, predictions: readonly Prediction[]): Promise<void> {
    const column = <K extends keyof Prediction>(key: K): Prediction[K][] => predictions.map((prediction) => prediction[key]);
    const chosen = predictions.map((prediction) => predictions.find((first) => first.stage === prediction.stage) === prediction);
    await this.db.soon.rows('insertPredictions', cluster, column('stage'), column('model'), chosen, column('seconds'), column('low'), column('high'));
  }

  private async catchUp(models: SiteModels, last: number): Promise<{ models: SiteModels; last: number }> {
    const rows = await this.db.rows<TimingRow>('timingsSince', last);
    const installs = rows.filter((row) => row.stage === 'install').map((row) => row.cluster);
    const phases = installs.length === 0 ? [] : await this.db.rows<PackageTiming & { cluster: string }>('packageTimingsOf', installs);
    const byCluster = new Map<string, PackageTiming[]>(installs.map((cluster) => [cluster, []]));
    for (const phase of phases) byCluster.get(phase.cluster)?.push(phase);
    return {
      models: rows.reduce((learned, row) => learn(learned, observation(row, byCluster.get(row.cluster) ?? [], this.processors)), models),
      last: rows.at(-1)?.id ?? last,
    };
  }
}

/** What a row says, as if its stage had had a processor for itself. */
function observation(row: TimingRow, phases: readonly PackageTiming[], processors: number): Observation {
  const { stage, bytes, items, installed, concurrency } = row;
  const image = row.image === null ? {} : { image: row.image };
  if (stage !== 'install' && stage !== 'pack') return { stage, bytes, items, seconds: row.seconds, ...image };
  if (row.place === 'nodes') return { stage, bytes, items, seconds: row.seconds, inNodes: { expected: row.expected ?? 0 } };
  const load = Math.max(1, concurrency / processors);
  const alone = phases.map((phase) => ({ ...phase, seconds: phase.seconds / load }));
  return { stage, bytes, items, seconds: row.seconds / load, ...image, ...(stage === 'install' ? { install: { phases: alone, installed } } : {}) };
}
