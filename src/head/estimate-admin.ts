/** What the administrator sees of the site's estimates: predictions beside timings, both from the tables. */
import type { EstimateExplanation, EstimateReport, StageExplanation } from '../domain/admin-views.js';
import { GridError } from '../domain/error.js';
import { judgeModels, type Judged } from '../domain/estimate/report.js';
import { checkName } from '../domain/names.js';
import { stages, type SitePlan, type Stage } from '../domain/plan.js';
import type { EstimateAdmin, MeasuredStage } from '../ports.js';
import type { Database } from '../store/database.js';
import type { SiteClock } from './site-clock.js';

type PredictionRow = Pick<Judged, 'stage' | 'model' | 'chosen' | 'seconds' | 'low' | 'high'>;

interface RequestRow {
  readonly state: string;
  readonly asked: { readonly nodes: number };
  readonly plan: SitePlan | null;
  readonly created: Date;
}

export class ClockAdmin implements EstimateAdmin {
  constructor(
    private readonly site: string,
    private readonly db: Database,
    private readonly clock: SiteClock,
  ) {}

  async report(): Promise<EstimateReport> {
    const [judged, models] = await Promise.all([this.db.rows<Judged>('judgedPredictions'), this.clock.models()]);
    return judgeModels(this.site, judged, models);
  }

  async explain(cluster: string): Promise<EstimateExplanation> {
    const row = await this.db.row<RequestRow>('request', checkName('cluster', cluster));
    if (row === undefined) throw new GridError('not-found', `site ${this.site} never had a part of cluster ${cluster}`, { hint: 'gridvc list --all shows your clusters; another site may have it (--site)' });
    const [predictions, timings, slowest, ready] = await Promise.all([
      this.db.rows<PredictionRow>('predictionsOf', cluster),
      this.db.rows<MeasuredStage>('timingsOf', cluster),
      this.db.rows<EstimateExplanation['slowest'][number]>('slowestPackagesOf', cluster),
      this.db.row<{ at: Date }>('readySince', cluster),
    ]);
    return {
      site: this.site,
      cluster,
      state: row.state,
      nodes: row.asked.nodes,
      created: row.created.toISOString(),
      reason: row.plan?.reason ?? 'not planned yet',
      predicted: row.plan?.predicted ?? 0,
      ...(ready === undefined ? {} : { readyAfter: (ready.at.getTime() - row.created.getTime()) / 1000 }),
      stages: stages.flatMap((stage) => explainStage(stage, row.plan, predictions, timings)),
      slowest,
    };
  }
}

/** None if the part does not pass this stage. A stage that ran again after a restart counts as it was first. */
function explainStage(stage: Stage, plan: SitePlan | null, predictions: readonly PredictionRow[], timings: readonly MeasuredStage[]): StageExplanation[] {
  const planned = plan?.stages.find((each) => each.stage === stage);
  const measured = timings.find((each) => each.stage === stage);
  if (planned === undefined && measured === undefined) return [];
  const words = predictions.filter((each) => each.stage === stage);
  const chosen = words.find((each) => each.chosen);
  return [
    {
      stage,
      ...(chosen === undefined ? {} : { model: chosen.model, low: chosen.low, high: chosen.high }),
      ...(planned?.predicted === undefined ? {} : { predicted: planned.predicted }),
      ...(measured === undefined ? {} : { measured: measured.seconds }),
      bytes: measured?.bytes ?? planned?.bytes ?? 0,
      items: measured?.items ?? planned?.items ?? 0,
      others: words.filter((each) => !each.chosen).map(({ model, seconds }) => ({ model, predicted: seconds })),
    },
  ];
}
