/** The plan of one site as data, before anything is done: which stages, with which bytes and items. Pure. */
import { predictStage, type Observation } from './estimate.js';
import type { Layer, Resolution } from './image.js';
import type { SitePlan, Stage } from './plan.js';

/** What the site has already. */
export interface SiteStock {
  readonly baseReady: boolean;
  /** Layers of the exact image, if it is cached. */
  readonly image: readonly Layer[] | undefined;
}

/** A delta layer is about this much larger than its .debs: zstd level 1 against xz (docs/benchmarks.md). */
const layerPerDeb = 1.3;

/** @returns the stages that this site still has to pass for `nodes` nodes on `hosts` hosts, each with its predicted seconds */
export function planSite(work: { site: string; nodes: number; hosts: number; resolution: Resolution; stock: SiteStock; observations: readonly Observation[] }): SitePlan {
  const { resolution, stock, nodes, hosts } = work;
  const debBytes = resolution.packages.reduce((sum, p) => sum + p.debBytes, 0);
  const install = stock.image === undefined && resolution.packages.length > 0;
  const newBytes = stock.image === undefined ? Math.round(debBytes * layerPerDeb) : 0;
  const wanted: { stage: Stage; bytes: number; items: number; when: boolean }[] = [
    { stage: 'resolve', bytes: 0, items: resolution.asked.length, when: true },
    { stage: 'base', bytes: 0, items: 1, when: !stock.baseReady },
    { stage: 'download', bytes: debBytes, items: resolution.packages.length, when: install },
    { stage: 'install', bytes: debBytes, items: resolution.packages.length, when: install },
    { stage: 'pack', bytes: debBytes, items: 1, when: install },
    { stage: 'distribute', bytes: newBytes * hosts, items: hosts, when: true },
    { stage: 'launch', bytes: 0, items: nodes, when: true },
    { stage: 'join', bytes: 0, items: nodes, when: true },
    { stage: 'verify', bytes: 0, items: nodes, when: true },
  ];
  const stages = wanted.filter((stage) => stage.when).map(({ stage, bytes, items }) => predictStage({ stage, bytes, items }, work.observations));
  const predicted = stages.reduce((sum, stage) => sum + (stage.predicted ?? 0), 0);
  return { site: work.site, nodes, stages, predicted: Math.round(predicted * 1000) / 1000, reason: reasonFor(resolution, stock, debBytes) };
}

function reasonFor(resolution: Resolution, stock: SiteStock, debBytes: number): string {
  if (resolution.packages.length === 0) return 'the base image has all that was asked';
  if (stock.image !== undefined) return `cached image ${resolution.key.slice(0, 8)}: its ${resolution.packages.length} packages need not be installed again`;
  return `base image + ${resolution.packages.length} packages (${(debBytes / 1e6).toFixed(1)} MB), installed once on the head as a layer`;
}
