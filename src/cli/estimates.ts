/** The actions of `gridvc estimate`. */
import type { EstimateExplanation, ModelReport, StageExplanation } from '../domain/admin-views.js';
import { checkName } from '../domain/names.js';
import type { HeadOptions } from './commands/declare.js';
import { withHead } from './head-admin.js';
import { note, print, printJson, seconds, table } from './terminal.js';

export async function report(options: HeadOptions): Promise<void> {
  const { report: found } = await withHead(options, (head) => head.call('reportEstimates', {}));
  if (options.json === true) return printJson(found);
  if (found.models.length === 0) return note(`site ${found.site} has measured nothing yet; make a cluster there first`);
  print(`site ${found.site}: ${found.clusters} ${found.clusters === 1 ? 'cluster' : 'clusters'} predicted and measured; errors in % of the measured seconds\n`);
  print(table(['stage', 'model', 'n', 'mean error', '90 % below', 'worst', 'bias', 'off by', 'in interval', ''], found.models.map(reportRow)));
  print(`\nused, and why:\n${found.models.filter(({ used }) => used).map(({ stage, model, why }) => `  ${stage}: ${model}, ${why ?? ''}`).join('\n')}`);
}

export async function explain(cluster: string, options: HeadOptions): Promise<void> {
  checkName('cluster', cluster);
  const { explanation } = await withHead(options, (head) => head.call('explainEstimate', { cluster }));
  if (options.json === true) return printJson(explanation);
  print(explanationText(explanation));
}

/** Pure: what a person reads. */
export function explanationText(of: EstimateExplanation): string {
  const measured = of.stages.reduce((sum, stage) => sum + (stage.measured ?? 0), 0);
  const rows = of.stages.map(stageRow);
  return [
    `cluster ${of.cluster} at site ${of.site}: ${of.nodes} ${of.nodes === 1 ? 'node' : 'nodes'}, ${of.state}, asked ${of.created}`,
    `image: ${of.reason}`,
    '',
    table(['stage', 'model', 'predicted', 'interval', 'measured', 'off by', 'MB', 'items', 'other models'], [...rows, ['sum', '', seconds(of.predicted), '', seconds(measured), percent(of.predicted, measured), '', '', '']]),
    ...(of.readyAfter === undefined ? [] : ['', `ready ${of.readyAfter.toFixed(1)} s after it was asked (launch, join and verify overlap)`]),
    ...(of.slowest.length === 0 ? [] : ['', table(['slowest package', 'version', 'seconds'], of.slowest.map((each) => [each.package, each.version, each.seconds.toFixed(2)]))]),
  ].join('\n');
}

function stageRow(stage: StageExplanation): (string | number)[] {
  const interval = stage.low === undefined || stage.high === undefined ? '' : `${stage.low.toFixed(1)} to ${stage.high.toFixed(1)}`;
  const others = stage.others.map(({ model, predicted }) => `${model} ${predicted.toFixed(1)}`).join(', ');
  return [stage.stage, stage.model ?? '', seconds(stage.predicted), interval, seconds(stage.measured), percent(stage.predicted, stage.measured), (stage.bytes / 1e6).toFixed(1), stage.items, others];
}

/** "+12 %" of the measured seconds; nothing where a tenth of a second decides. */
function percent(predicted: number | undefined, measured: number | undefined): string {
  if (predicted === undefined || measured === undefined || measured < 0.1) return '';
  const share = (100 * (predicted - measured)) / measured;
  return `${share >= 0 ? '+' : ''}${share.toFixed(0)} %`;
}

function reportRow(model: ModelReport): (string | number)[] {
  const share = (value: number): string => `${(100 * value).toFixed(1)} %`;
  return [model.stage, model.model, model.count, share(model.meanError), share(model.p90Error), share(model.worstError), `${model.bias >= 0 ? '+' : ''}${share(model.bias)}`, `${model.meanSeconds.toFixed(2)} s`, share(model.inside), model.used ? 'used' : ''];
}
