/**
 * The plan of one site as data, before anything is done. For every image that may serve, and both ways of adding what
 * it lacks, the stages with their bytes and items and predicted seconds; the least sum is taken. Pure.
 */
import { chooseImage, isUsable, type Adding, type Candidate, type Choice } from './cache/image-choice.js';
import { predict, predictAll, type Prediction, type SiteModels, type StageWork } from './estimate/site.js';
import type { Layer, ResolvedPackage, Resolution } from './image.js';
import type { PlanAlternative, SitePlan, Stage } from './plan.js';

/** An image over the base that the site holds and may use. */
export interface HeldImage {
  /** c3 or d12 */
  readonly name: string;
  readonly key: string;
  /** Lowest first; the first is the base. */
  readonly layers: readonly Layer[];
  /** Name to version, above the base. */
  readonly packages: ReadonlyMap<string, string>;
}

export interface SiteWork {
  readonly site: string;
  readonly nodes: number;
  readonly hosts: number;
  readonly resolution: Resolution;
  readonly base: Layer;
  /** False: the base is made first. */
  readonly baseReady: boolean;
  readonly images: readonly HeldImage[];
  /** No image with packages beyond the resolution's. */
  readonly exact: boolean;
  /** What apt said of images with other packages: what must be added to them, or that it cannot be. By key; not asked yet: absent. */
  readonly asked?: ReadonlyMap<string, readonly ResolvedPackage[] | 'refused'>;
  /** Bytes over the wire to bring these layers to all hosts; `fresh`: bytes of a layer that none has yet. */
  wire(layers: readonly Layer[], fresh: number): number;
  /** Works that share the head's processors with a build, for each processor; at least 1. */
  readonly headLoad: number;
  /** Nodes that install at once, for each processor of a host; at least 1. Undefined: nodes here cannot install by themselves. */
  readonly nodeLoad?: number;
  readonly models: SiteModels;
}

export interface SiteCandidate extends Candidate {
  /** Undefined: the base alone. */
  readonly image: HeldImage | undefined;
  /** What must be added to it. */
  readonly missing: readonly ResolvedPackage[];
  readonly stages: readonly (StageWork & { readonly load: number })[];
  /** True if the image has packages beyond the closure, and apt must be asked whether the rest goes with them. */
  readonly doubtful: boolean;
}

export interface PlannedSite {
  readonly plan: SitePlan;
  readonly chosen: SiteCandidate;
  /** What every model says to the chosen one's stages, for the report that compares them later. */
  readonly predictions: readonly Prediction[];
}

/** A layer is about this much larger than its .debs: zstd level 1 against xz (docs/benchmarks.md). */
export const layerPerDeb = 1.3;
const mostAlternatives = 12;

/** @returns the stages that this site still has to pass by the quickest way, with all ways that there are */
export function planSite(work: SiteWork): PlannedSite {
  const choice = chooseImage(candidatesOf(work));
  const { chosen } = choice;
  const stages = chosen.stages.map((stage) => ({ stage: stage.stage, bytes: stage.bytes, items: stage.items, predicted: thousandths(predict(work.models, stage).seconds * stage.load) }));
  return {
    plan: { site: work.site, nodes: work.nodes, stages, predicted: thousandths(choice.total), reason: reasonFor(work, choice), alternatives: alternativesOf(choice) },
    chosen,
    predictions: chosen.stages.flatMap((stage) => predictAll(work.models, stage).map((said) => loaded(said, stage.load))),
  };
}

/** The base first, then each usable image; with something to add, both ways of adding it. */
export function candidatesOf(work: SiteWork): [SiteCandidate, ...SiteCandidate[]] {
  const { packages } = work.resolution;
  const usable = work.images.filter((image) => image.layers[0]?.digest === work.base.digest && work.asked?.get(image.key) !== 'refused' && isUsable(image.packages, packages, work.exact));
  const ways = (image: HeldImage | undefined): SiteCandidate[] => {
    const missing = missingIn(work, image);
    const first = candidate(work, image, missing, 'once-on-the-head');
    return missing.length === 0 || work.nodeLoad === undefined ? [first] : [first, candidate(work, image, missing, 'in-every-node')];
  };
  const [base = candidate(work, undefined, packages, 'once-on-the-head'), ...others] = ways(undefined);
  return [base, ...others, ...usable.flatMap(ways)];
}

function missingIn(work: SiteWork, image: HeldImage | undefined): readonly ResolvedPackage[] {
  if (image === undefined) return work.resolution.packages;
  const asked = work.asked?.get(image.key);
  return Array.isArray(asked) ? (asked as readonly ResolvedPackage[]) : work.resolution.packages.filter(({ name }) => !image.packages.has(name));
}

function candidate(work: SiteWork, image: HeldImage | undefined, missing: readonly ResolvedPackage[], adding: Adding): SiteCandidate {
  const stages = stagesOf(work, image, missing, adding);
  const seconds: Partial<Record<Stage, number>> = {};
  for (const stage of stages) seconds[stage.stage] = predict(work.models, stage).seconds * stage.load;
  const shared = work.resolution.packages.filter(({ name }) => image?.packages.has(name) === true).length;
  const doubtful = image !== undefined && missing.length > 0 && image.packages.size > shared && !Array.isArray(work.asked?.get(image.key));
  return { label: image === undefined ? 'base image' : `cache image ${image.name}`, adding, seconds, image, missing, stages, doubtful };
}

function stagesOf(work: SiteWork, image: HeldImage | undefined, missing: readonly ResolvedPackage[], adding: Adding): SiteCandidate['stages'] {
  const { resolution, nodes, hosts } = work;
  const bytes = debBytes(missing);
  const items = missing.length;
  const inNodes = adding === 'in-every-node';
  const add = items > 0;
  const layers = image?.layers ?? [work.base];
  const fresh = add ? Math.round(bytes * (inNodes ? 1 : layerPerDeb)) : 0;
  const installed = image?.packages.size ?? 0;
  const alone: StageWork = { stage: 'install', bytes, items, install: { packages: missing, installed } };
  const wanted: (StageWork & { when: boolean; load?: number })[] = [
    { stage: 'resolve', bytes: 0, items: resolution.asked.length, when: true },
    { stage: 'base', bytes: 0, items: 1, when: !work.baseReady },
    { stage: 'download', bytes, items, when: add },
    { ...alone, when: add && !inNodes, load: work.headLoad },
    // .debs are only copied into their layer: as if nothing were compressed
    { stage: 'pack', bytes: inNodes ? 0 : bytes, items: 1, when: add, load: work.headLoad },
    { stage: 'distribute', bytes: work.wire(layers, fresh), items: hosts, image: add ? resolution.key : (image?.key ?? resolution.key), when: true },
    { stage: 'launch', bytes: 0, items: nodes, when: true },
    { stage: 'install', bytes, items, inNodes: { expected: inNodes ? predict(work.models, alone).seconds * (work.nodeLoad ?? 1) : 0 }, when: add && inNodes },
    { stage: 'join', bytes: 0, items: nodes, when: true },
    { stage: 'verify', bytes: 0, items: nodes, when: true },
  ];
  return wanted.filter((stage) => stage.when).map(({ when: _when, load = 1, ...stage }) => ({ ...stage, load }));
}

/** Other alternatives than the best ones are of no use to a reader; the chosen one and the base image are always there. */
function alternativesOf(choice: Choice<SiteCandidate>): readonly PlanAlternative[] {
  const all = choice.ranking.map(({ candidate: way, total }) => ({ name: nameOf(way), predicted: thousandths(total), chosen: way === choice.chosen, base: way.image === undefined }));
  return all.filter((way, i) => i < mostAlternatives || way.base).map(({ base: _base, ...way }) => way);
}

function nameOf({ label, missing, adding }: SiteCandidate): string {
  if (missing.length === 0) return label;
  const rest = `${missing.length} package${missing.length === 1 ? '' : 's'}`;
  return adding === 'in-every-node' ? `${label} + ${rest} in every node` : `${label} + ${rest} once on the head`;
}

function reasonFor(work: SiteWork, choice: Choice<SiteCandidate>): string {
  const { chosen } = choice;
  if (work.resolution.packages.length === 0 && chosen.image === undefined) return 'the base image has all that was asked';
  const rest = chosen.missing.length === 0 ? '' : ` + ${chosen.missing.length} packages (${(debBytes(chosen.missing) / 1e6).toFixed(1)} MB), installed ${chosen.adding === 'in-every-node' ? 'in every node' : 'once on the head as a layer'}`;
  return `${choice.reason}${rest}`;
}

function loaded(said: Prediction, load: number): Prediction {
  return { ...said, seconds: said.seconds * load, low: said.low * load, high: said.high * load };
}

function debBytes(packages: readonly ResolvedPackage[]): number {
  return packages.reduce((sum, entry) => sum + entry.debBytes, 0);
}

function thousandths(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
