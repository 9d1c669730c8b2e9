/** The paper's tables beside ours, as Markdown, and its stacked chart, as SVG. Pure. */
import type { Stage } from '../../../src/domain/plan.js';
import { colours, stackedBars } from '../svg.js';
import { configurations, nodeCounts, paperInstall, paperTransfer, paperWhole, type ConfigurationName, type NodeCount, type Said } from './figures.js';
import type { Measured, Mode } from './measure.js';

/** What the paper calls install: all that turns an image into the asked one. */
const installing: readonly Stage[] = ['download', 'install', 'pack'];

/** @returns the section for docs/benchmarks.md */
export function paperSection(rows: readonly Measured[], machine: string): string {
  const find = finder(rows);
  const header = (columns: readonly string[]): string => `| ${columns.join(' | ')} |\n|${columns.map(() => '---').join('|')}|`;
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const transfer = configurations.flatMap(({ name }) =>
    nodeCounts.map((nodes) => line([name, String(nodes), pair(paperTransfer[nodes].minimal), stageOf(find(name, nodes, 'none'), ['distribute']), pair(paperTransfer[nodes].cache), stageOf(find(name, nodes, 'common'), ['distribute']), stageOf(find(name, nodes, 'exact'), ['distribute'])])),
  );
  const install = configurations.flatMap(({ name }) =>
    nodeCounts.map((nodes) => line([name, String(nodes), pair(paperInstall[name][nodes].none), stageOf(find(name, nodes, 'none'), installing), pair(paperInstall[name][nodes].cache), stageOf(find(name, nodes, 'common'), installing), stageOf(find(name, nodes, 'exact'), installing)])),
  );
  const whole = configurations.flatMap(({ name }) =>
    nodeCounts.map((nodes) => {
      const none = find(name, nodes, 'none');
      const of = (mode: Mode): string => both(none, find(name, nodes, mode));
      return line([name, String(nodes), nodes === 16 ? `${paperWhole.none} → ${paperWhole.cache} (${(paperWhole.none / paperWhole.cache).toFixed(1)} times)` : '', none === undefined ? '' : `${none.ready.toFixed(1)} (said ${none.predicted.toFixed(1)})`, of('common'), of('exact'), of('again')]);
    }),
  );
  return [
    `Transfer to the compute hosts, estimate / measured, seconds. ${machine}`,
    '',
    header(['', 'nodes', 'paper: minimal 46.0 MB', 'gridvc: no cache', 'paper: cache 61.3 MB', 'gridvc: common packages cached', 'gridvc: the image cached']),
    ...transfer,
    '',
    'Install (gridvc: download, install and pack, once on the head), estimate / measured, seconds:',
    '',
    header(['', 'nodes', 'paper: no cache', 'gridvc: no cache', 'paper: cache', 'gridvc: common packages cached', 'gridvc: the image cached']),
    ...install,
    '',
    'Request to ready, seconds; in brackets how many times faster than without cache:',
    '',
    header(['', 'nodes', 'paper', 'gridvc: no cache', 'common packages cached', 'the image cached', 'the image cached and on the host']),
    ...whole,
    '',
    '![stacked build times, ours and the paper\'s](paper-build-times.svg)',
  ].join('\n');
}

/** The paper's figure: what the seconds of a build go to. Its bars have the rest of its whole build as "start and restart" at 16 nodes only: it says no more. */
export function paperChart(rows: readonly Measured[]): string {
  const find = finder(rows);
  const parts = [
    { name: 'image transfer', colour: colours.blue },
    { name: 'install', colour: colours.orange },
    { name: 'start, join, verify', colour: colours.green },
    { name: 'resolve', colour: colours.grey },
  ];
  const ours = (name: ConfigurationName) => ({
    label: `gridvc ${name}`,
    bars: nodeCounts.flatMap((nodes) => (['none', 'common', 'exact', 'again'] as const).flatMap((mode) => {
      const row = find(name, nodes, mode);
      if (row === undefined) return [];
      const [transfer, install, resolve] = [sum(row, ['distribute']), sum(row, installing), sum(row, ['resolve'])];
      return [{ label: `${nodes}, ${mode === 'none' ? 'no cache' : mode === 'common' ? 'common' : mode === 'exact' ? 'image' : 'again'}`, values: [transfer, install, Math.max(0, row.ready - transfer - install - resolve), resolve] }];
    })),
  });
  const paper = (name: ConfigurationName) => ({
    label: `paper ${name}`,
    bars: nodeCounts.flatMap((nodes) => [
      { label: `${nodes}, no cache`, values: [paperTransfer[nodes].minimal.measured, paperInstall[name][nodes].none.measured, nodes === 16 && name === 'conf. 2' ? paperWhole.none - paperTransfer[16].minimal.measured - paperInstall[name][16].none.measured : 0] },
      { label: `${nodes}, cache`, values: [paperTransfer[nodes].cache.measured, paperInstall[name][nodes].cache.measured, nodes === 16 && name === 'conf. 2' ? paperWhole.cache - paperTransfer[16].cache.measured - paperInstall[name][16].cache.measured : 0] },
    ]),
  });
  return stackedBars({ title: 'Build time of 4, 8 and 16 nodes, with and without cache', y: 'seconds', parts, groups: [paper('conf. 1'), ours('conf. 1'), paper('conf. 2'), ours('conf. 2')] });
}

function finder(rows: readonly Measured[]): (name: ConfigurationName, nodes: NodeCount, mode: Mode) => Measured | undefined {
  return (name, nodes, mode) => rows.findLast((row) => row.configuration === name && row.nodes === nodes && row.mode === mode);
}

function pair({ estimate, measured }: Said): string {
  return `${estimate} / ${measured}`;
}

/** "12.1 / 11.8"; a dash where nothing of it was to be done. */
function stageOf(row: Measured | undefined, stages: readonly Stage[]): string {
  if (row === undefined) return '';
  const there = stages.flatMap((stage) => row.stages[stage] ?? []);
  if (there.length === 0) return '-';
  const said = there.reduce((total, { predicted }) => total + (predicted ?? 0), 0);
  return `${said.toFixed(2)} / ${sum(row, stages).toFixed(2)}`;
}

function sum(row: Measured, stages: readonly Stage[]): number {
  return stages.reduce((total, stage) => total + (row.stages[stage]?.measured ?? 0), 0);
}

function both(none: Measured | undefined, row: Measured | undefined): string {
  if (row === undefined) return '';
  return `${row.ready.toFixed(1)} (said ${row.predicted.toFixed(1)}; ${none === undefined ? '?' : (none.ready / row.ready).toFixed(1)} times)`;
}

