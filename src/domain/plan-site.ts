/** The plan of one site as data, before anything is done: which stages, with which bytes and items. Pure. */
import { predict, predictAll, type Prediction, type SiteModels, type StageWork } from './estimate/site.js';
import type { Layer, Resolution } from './image.js';
import type { SitePlan } from './plan.js';

/** What the site has already. */
export interface SiteStock {
  readonly baseReady: boolean;
  /** Layers of the exact image, if it is cached. */
  readonly image: readonly Layer[] | undefined;
}

/** A delta layer is about this much larger than its .debs: zstd level 1 against xz (docs/benchmarks.md). */
const layerPerDeb = 1.3;

export interface SiteWork {
  readonly site: string;
  readonly nodes: number;
  readonly hosts: number;
  readonly resolution: Resolution;
  readonly stock: SiteStock;
  readonly models: SiteModels;
}

/** @returns the stages that this site still has to pass, each with its predicted seconds by the model to go by */
export function planSite(work: SiteWork): SitePlan {
  const stages = stagesOf(work).map((stage) => ({ stage: stage.stage, bytes: stage.bytes, items: stage.items, predicted: thousandths(predict(work.models, stage).seconds) }));
  const predicted = stages.reduce((sum, stage) => sum + stage.predicted, 0);
  return { site: work.site, nodes: work.nodes, stages, predicted: thousandths(predicted), reason: reasonFor(work.resolution, work.stock), alternatives: [] };
}

/** What every model says to the same stages, for the report that compares them later. */
export function sitePredictions(work: SiteWork): readonly Prediction[] {
  return stagesOf(work).flatMap((stage) => predictAll(work.models, stage));
}

function stagesOf({ resolution, stock, nodes, hosts }: SiteWork): readonly StageWork[] {
  const { packages } = resolution;
  const bytes = debBytes(resolution);
  const install = stock.image === undefined && packages.length > 0;
  const newBytes = stock.image === undefined ? Math.round(bytes * layerPerDeb) : 0;
  const wanted: (StageWork & { when: boolean })[] = [
    { stage: 'resolve', bytes: 0, items: resolution.asked.length, when: true },
    { stage: 'base', bytes: 0, items: 1, when: !stock.baseReady },
    { stage: 'download', bytes, items: packages.length, when: install },
    { stage: 'install', bytes, items: packages.length, install: { packages, installed: 0 }, when: install },
    { stage: 'pack', bytes, items: 1, when: install },
    { stage: 'distribute', bytes: newBytes * hosts, items: hosts, image: resolution.key, when: true },
    { stage: 'launch', bytes: 0, items: nodes, when: true },
    { stage: 'join', bytes: 0, items: nodes, when: true },
    { stage: 'verify', bytes: 0, items: nodes, when: true },
  ];
  return wanted.filter((stage) => stage.when);
}

function debBytes(resolution: Resolution): number {
  return resolution.packages.reduce((sum, entry) => sum + entry.debBytes, 0);
}

function thousandths(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

function reasonFor(resolution: Resolution, stock: SiteStock): string {
  if (resolution.packages.length === 0) return 'the base image has all that was asked';
  if (stock.image !== undefined) return `cached image ${resolution.key.slice(0, 8)}: its ${resolution.packages.length} packages need not be installed again`;
  return `base image + ${resolution.packages.length} packages (${(debBytes(resolution) / 1e6).toFixed(1)} MB), installed once on the head as a layer`;
}
