/** Predicted and measured seconds per stage and site, as text. Pure: plan, live progress and demo show the same table. */
import { stages, type Stage } from '../domain/plan.js';
import type { ClusterView, PlanView, StageView } from '../domain/views.js';
import { seconds, table } from './terminal.js';

/** One row per stage that any site passes, two columns per site; a running stage has `...` behind its seconds. */
export function stageTable(views: readonly StageView[]): string {
  const sites = [...new Set(views.map(({ site }) => site))].sort();
  const rows = stages.flatMap((stage) => {
    const cells = sites.map((site) => views.find((view) => view.site === site && view.stage === stage));
    return cells.every((view) => view === undefined) ? [] : [[stage, ...cells.flatMap((view) => [seconds(view?.predicted), measured(view)])]];
  });
  if (rows.length === 0) return '';
  const sums = sites.flatMap((site) => [sum(views, site, 'predicted'), sum(views, site, 'elapsed')].map(seconds));
  return table(['stage', ...sites.flatMap((site) => [`${site} predicted`, 'measured'])], [...rows, ['sum', ...sums]]);
}

export function planText(plan: PlanView): string {
  const views: StageView[] = plan.sites.flatMap(({ site, stages: planned }) =>
    planned.map(({ stage, predicted }: { stage: Stage; predicted?: number }) => ({ site, stage, done: false, ...(predicted === undefined ? {} : { predicted }) })),
  );
  const places = plan.sites.map((site) => `${site.site}: ${site.nodes} ${site.nodes === 1 ? 'node' : 'nodes'}; ${site.reason}`);
  const sites = [...new Set(views.map(({ site }) => site))].sort();
  const rows = stages.flatMap((stage) => {
    const cells = sites.map((site) => views.find((view) => view.site === site && view.stage === stage));
    return cells.every((view) => view === undefined) ? [] : [[stage, ...cells.map((view) => (view === undefined ? '' : (seconds(view.predicted) || 'unknown')))]];
  });
  return [...places, table(['stage', ...sites], rows), `predicted: ready after ${plan.predictedSeconds.toFixed(1)} s`, ...plan.sites.flatMap(alternativesOf)].join('\n');
}

const mostAlternatives = 8;

/** Every image that could serve, least predicted time first; nothing to say where there was no choice. */
function alternativesOf({ site, alternatives }: PlanView['sites'][number]): readonly string[] {
  if (alternatives.length < 2) return [];
  const rows = alternatives.slice(0, mostAlternatives).map((each) => [each.name, seconds(each.predicted), each.chosen ? 'chosen' : '']);
  const more = alternatives.length - rows.length;
  return ['', table([`alternatives at ${site}`, 'predicted', ''], rows), ...(more > 0 ? [`and ${more} more, slower`] : [])];
}

/** One line: state, nodes, seconds. */
export function summary(cluster: ClusterView): string {
  const took = cluster.measuredSeconds === undefined ? '' : ` after ${cluster.measuredSeconds.toFixed(1)} s`;
  const reason = cluster.reason === undefined ? '' : `: ${cluster.reason}`;
  return `cluster ${cluster.id} is ${cluster.state}${cluster.state === 'ready' ? took : ''} (${cluster.ready} of ${cluster.count} nodes ready, predicted ${cluster.predictedSeconds.toFixed(1)} s)${reason}`;
}

function measured(view: StageView | undefined): string {
  if (view?.elapsed === undefined) return '';
  return view.done ? seconds(view.elapsed) : `${view.elapsed.toFixed(1)} ...`;
}

function sum(views: readonly StageView[], site: string, which: 'predicted' | 'elapsed'): number | undefined {
  const values = views.filter((view) => view.site === site).flatMap((view) => view[which] ?? []);
  return values.length === 0 ? undefined : values.reduce((total, value) => total + value, 0);
}
