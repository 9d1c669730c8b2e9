/** Images are ordered lists of immutable, content-addressed, read-only squashfs layers. */

/** `debs`: packages that nodes install by themselves; `kernel`: what a node that is a machine of its own boots, and its modules. */
export const layerKinds = ['base', 'cache', 'delta', 'debs', 'kernel'] as const;
export type LayerKind = (typeof layerKinds)[number];

export interface Layer {
  /** SHA-256 of the squashfs file, hex; also its file name. */
  readonly digest: string;
  readonly kind: LayerKind;
  /** Bytes of the squashfs file. */
  readonly bytes: number;
}

/** One package at one version, with the sizes that estimates are made from. */
export interface ResolvedPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** Bytes of the .deb. */
  readonly debBytes: number;
}

/** What real apt says must be added to a base for the asked packages. */
export interface Resolution {
  readonly os: string;
  /** Asked package names after bundles were opened, sorted, unique. */
  readonly asked: readonly string[];
  /** Packages to add on top of the base, sorted by name. */
  readonly packages: readonly ResolvedPackage[];
  /** Digest over base, package names and versions: the key of the delta layer. */
  readonly key: string;
}

/** The layers of one node root, lowest first. */
export interface Image {
  readonly layers: readonly Layer[];
}

/** One line of apt's status pipe that ended a phase of one package. */
export interface PackageTiming {
  readonly package: string;
  readonly version: string;
  readonly phase: 'unpack' | 'configure' | 'trigger';
  readonly seconds: number;
  readonly bytes: number;
  readonly files: number;
}
