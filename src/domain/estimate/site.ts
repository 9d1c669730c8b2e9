/**
 * All that a site has learned about time, as one value: the install models, transfers, and a line for
 * each other stage. One function learns an observation, one predicts a stage.
 */
import type { Stage } from '../plan.js';
import { bestModel, coldInstall, installModels, learnInstall, predictInstall, type InstallObservation, type InstallState, type InstallWork } from './install.js';
import { emptyLine, learnLine, predictLine, type Estimate, type LineState } from './line.js';
import { inNodesPrior, stagePriors } from './priors.js';
import { coldTransfer, learnTransfer, predictTransfer, type TransferState } from './transfer.js';

type LineStage = Exclude<Stage, 'install' | 'distribute'>;

export interface SiteModels {
  readonly install: InstallState;
  readonly transfer: TransferState;
  /** Installations that every node does by itself. */
  readonly inNodes: LineState;
  readonly lines: Readonly<Record<LineStage, LineState>>;
}

/** One measured stage. `install` may bring its packages' phases, `distribute` the image that was sent. */
export interface Observation {
  readonly stage: Stage;
  readonly bytes: number;
  readonly items: number;
  readonly seconds: number;
  readonly image?: string;
  readonly install?: Pick<InstallObservation, 'phases' | 'installed'>;
  readonly inNodes?: InNodes;
}

/** An installation in every node. `expected`: seconds that the head alone would take for it, times the nodes that share a processor. */
export interface InNodes {
  readonly expected: number;
}

/** What a stage has to do. */
export interface StageWork {
  readonly stage: Stage;
  readonly bytes: number;
  readonly items: number;
  readonly image?: string;
  readonly install?: InstallWork;
  readonly inNodes?: InNodes;
}

/** One model's word on one stage; kept beside what was measured later. */
export interface Prediction extends Estimate {
  readonly stage: Stage;
  readonly model: string;
}

export const coldSite: SiteModels = {
  install: coldInstall,
  transfer: coldTransfer,
  inNodes: emptyLine,
  lines: { resolve: emptyLine, base: emptyLine, download: emptyLine, pack: emptyLine, launch: emptyLine, join: emptyLine, verify: emptyLine },
};

const MiB = 1024 * 1024;

/** Learns one observation; one that cannot be (negative, endless) changes nothing. */
export function learn(site: SiteModels, seen: Observation): SiteModels {
  switch (seen.stage) {
    case 'install':
      if (seen.inNodes !== undefined) return { ...site, inNodes: learnLine(site.inNodes, [1, seen.inNodes.expected], seen.seconds) };
      return { ...site, install: learnInstall(site.install, { bytes: seen.bytes, items: seen.items, seconds: seen.seconds, installed: seen.install?.installed ?? 0, phases: seen.install?.phases ?? [] }) };
    case 'distribute':
      return { ...site, transfer: learnTransfer(site.transfer, transferOf(seen), seen.seconds) };
    default:
      return { ...site, lines: { ...site.lines, [seen.stage]: learnLine(site.lines[seen.stage], quantities(seen), seen.seconds) } };
  }
}

/** Every model's prediction of one stage, the one to go by first. */
export function predictAll(site: SiteModels, work: StageWork): readonly [Prediction, ...Prediction[]] {
  switch (work.stage) {
    case 'install': {
      if (work.inNodes !== undefined) return [{ stage: 'install', model: 'in-nodes', ...predictLine(inNodesPrior, site.inNodes, [1, work.inNodes.expected]) }];
      const best = bestModel(site.install);
      const install = work.install ?? { packages: [], installed: 0 };
      const by = (model: (typeof installModels)[number]): Prediction => ({ stage: 'install', model, ...predictInstall(site.install, model, install) });
      return [by(best), ...installModels.filter((model) => model !== best).map(by)];
    }
    case 'distribute':
      return [{ stage: 'distribute', model: 'transfer', ...predictTransfer(site.transfer, transferOf(work)) }];
    default:
      return [{ stage: work.stage, model: 'line', ...predictLine(stagePriors[work.stage], site.lines[work.stage], quantities(work)) }];
  }
}

/** The site's best prediction of one stage. */
export function predict(site: SiteModels, work: StageWork): Prediction {
  if (work.stage !== 'install' || work.inNodes !== undefined) return predictAll(site, work)[0];
  const model = bestModel(site.install);
  return { stage: 'install', model, ...predictInstall(site.install, model, work.install ?? { packages: [], installed: 0 }) };
}

function transferOf(work: { image?: string; bytes: number; items: number }): { image?: string; bytes: number; hosts: number } {
  return { ...(work.image === undefined ? {} : { image: work.image }), bytes: work.bytes, hosts: work.items };
}

function quantities(work: { bytes: number; items: number }): readonly number[] {
  return [1, work.bytes / MiB, work.items];
}
