/**
 * Predicted against measured, over a site's own past: how far each model was off, and which one its plans go by. Pure.
 * Errors are relative to the measured seconds, at least `floor`: a stage of ten milliseconds must not look like a disaster.
 */
import type { EstimateReport, ModelReport } from '../admin-views.js';
import { stages, type Stage } from '../plan.js';
import { bestModel, installModels, type InstallState } from './install.js';
import { medianOf } from './line.js';
import type { SiteModels } from './site.js';

/** One model's word on one stage of one cluster, and what it really took. */
export interface Judged {
  readonly cluster: string;
  readonly stage: Stage;
  readonly model: string;
  /** The plan went by it. */
  readonly chosen: boolean;
  readonly seconds: number;
  readonly low: number;
  readonly high: number;
  readonly measured: number;
}

const floor = 0.1; // seconds
export const asPlanned = 'as planned';

/** @returns one row per stage and model, in the order of the stages; in stages with several models also a row for those that plans really went by */
export function judgeModels(site: string, judged: readonly Judged[], models: SiteModels): EstimateReport {
  const rows = stages.flatMap((stage) => {
    const here = judged.filter((row) => row.stage === stage);
    const names = [...new Set(here.map((row) => row.model))].sort();
    const used = usedModel(stage, models);
    const each = names.map((model): ModelReport => ({ ...judge(stage, model, here.filter((row) => row.model === model)), ...(model === used.model ? { used: true, why: used.why } : {}) }));
    return names.length < 2 ? each : [...each, judge(stage, asPlanned, here.filter((row) => row.chosen))];
  });
  return { site, clusters: new Set(judged.map((row) => row.cluster)).size, models: rows };
}

function judge(stage: Stage, model: string, rows: readonly Judged[]): ModelReport {
  const errors = rows.map((row) => (row.seconds - row.measured) / Math.max(floor, row.measured));
  const sizes = errors.map(Math.abs).sort((a, b) => a - b);
  return {
    stage,
    model,
    used: false,
    count: rows.length,
    meanError: mean(sizes),
    p90Error: sizes[Math.ceil(0.9 * sizes.length) - 1] ?? 0,
    worstError: sizes.at(-1) ?? 0,
    bias: mean(errors),
    meanSeconds: mean(rows.map((row) => Math.abs(row.seconds - row.measured))),
    inside: mean(rows.map((row) => (row.measured >= row.low && row.measured <= row.high ? 1 : 0))),
  };
}

/** The model that plans of now go by, and why. */
function usedModel(stage: Stage, models: SiteModels): { model: string; why: string } {
  if (stage === 'install') return { model: bestModel(models.install), why: whyInstall(models.install) };
  if (stage === 'distribute') return { model: 'transfer', why: `past transfers of the same image to as many hosts, else a line through ${counted(models.transfer.line.rows.length, 'transfer')} of this site` };
  const seen = models.lines[stage].rows.length;
  return { model: 'line', why: seen === 0 ? 'nothing measured yet: the values that gridvc comes with' : `a line through the last ${counted(seen, 'measurement')} of this site` };
}

function whyInstall(state: InstallState): string {
  const best = bestModel(state);
  const record = state.record[best];
  const error = (model: (typeof installModels)[number]): string => `${(100 * medianOf(state.record[model].map(Math.abs))).toFixed(1)} %`;
  const enough = 5;
  if (record.length < enough) {
    return `only ${counted(record.length, 'installation')} told so far how good the models are (${enough} are needed); until then ${best === 'M1' ? 'the line in bytes, packages and files, since no package was seen yet' : 'the one that knows single packages'}`;
  }
  const others = installModels.filter((model) => model !== best).map((model) => `${model} ${error(model)}`);
  return `median error of the last ${record.length} installations: ${error(best)}, against ${others.join(', ')}; a simpler model is taken only if it is clearly better`;
}

function counted(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}
