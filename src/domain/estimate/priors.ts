/**
 * What a site believes before it has measured anything, as data: orders of magnitude seen on 2 shared
 * cores. All are wide on purpose; the first observations move their scale, the next their shape.
 */
import type { Stage } from '../plan.js';
import type { LinePrior } from './line.js';

/** Quantities: 1, MiB, items (packages, hosts, nodes: what the stage counts). */
export const stagePriors: Readonly<Record<Exclude<Stage, 'install'>, LinePrior>> = {
  resolve: { coefficients: [0.7, 0, 0], spread: 0.8, floor: 0.05 },
  base: { coefficients: [30, 0, 0], spread: 0.5, floor: 0.5 },
  download: { coefficients: [0.5, 0.05, 0.002], spread: 1, floor: 0.1 },
  pack: { coefficients: [0.3, 0.04, 0], spread: 0.5, floor: 0.05 },
  distribute: { coefficients: [0.05, 0.01, 0.02], spread: 0.6, floor: 0.05 },
  launch: { coefficients: [0.2, 0, 0.12], spread: 0.5, floor: 0.05 },
  join: { coefficients: [0.5, 0, 0.03], spread: 0.5, floor: 0.1 },
  verify: { coefficients: [0.2, 0, 0.03], spread: 0.5, floor: 0.05 },
};

/** apt and dpkg inside a node, all nodes at once, on the node's own disk. Quantities: 1, seconds that the head would take, times the nodes that share a processor. */
export const inNodesPrior: LinePrior = { coefficients: [0.5, 1.4], spread: 0.5, floor: 0.1 };

export const installPriors = {
  /** The paper's line. Quantities: 1, MiB of .debs. */
  M0: { coefficients: [2, 0.35], spread: 0.7, floor: 0.1 },
  /** Quantities: 1, MiB, packages, thousands of files. */
  M1: { coefficients: [1, 0.12, 0.06, 0.3], spread: 0.6, floor: 0.1 },
  /** All unpacking of a transaction. Quantities: 1, MiB, packages, thousands of files. */
  unpack: { coefficients: [0.04, 0.042, 0.0075, 0.033], spread: 0.6, floor: 0.1 },
  /** What a transaction takes besides its packages' phases: planning, the tree of the layers below. Quantities: 1, packages, packages of layers above the base. */
  overhead: { coefficients: [0.5, 0.0005, 0.01], spread: 0.6, floor: 0.1 },
} as const satisfies Record<string, LinePrior>;

/** Relative error expected of each model before it has a record. */
export const modelSpread = { M0: 0.7, M1: 0.6, M2: 0.6, M3: 0.6 } as const;

/** Files in a MiB of .deb, while the package was never unpacked here. */
export const filesPerMiB = 60;

/** A learned package is believed n / (n + this) after n observations; the line has the rest. */
export const packageShrink = 0.25;

/** A package's first observations may exceed the line's word by this factor and these seconds, not more: a stall looks like that. */
export const packageCap = { factor: 10, seconds: 10 } as const;

/** A trigger's time grows as (this + packages in the image): it looks at all of them. */
export const triggerPackages = 300;

/** Configuring a package of a kind: seconds · (1 + perMiB · MiB); no package counts for more than `most` per unit. */
export const configurePriors = {
  python: { seconds: 0.1, perMiB: 3, most: 1 },
  php: { seconds: 0.4, perMiB: 0, most: 4 },
  library: { seconds: 0.004, perMiB: 0, most: 1 },
  other: { seconds: 0.05, perMiB: 0, most: 2 },
} as const;

/** The prior of a kind counts as so many packages. */
export const kindShrink = 5;
