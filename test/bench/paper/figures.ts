/** What the paper measured (SEED.md): seconds on 4, 8 and 16 machines of 2006, one Xen domain each. Estimate and measured. */

export const nodeCounts = [4, 8, 16] as const;
export type NodeCount = (typeof nodeCounts)[number];

export const configurations = [
  { name: 'conf. 1', text: 'C/C++ and MPI development', bundles: ['c-dev', 'mpi'] },
  { name: 'conf. 2', text: 'Octave and MPI', bundles: ['octave', 'mpi'] },
] as const;
export type ConfigurationName = (typeof configurations)[number]['name'];

/** The packages that both configurations have: what the paper's cache image held. */
export const common = ['mpi'] as const;

export interface Said {
  readonly estimate: number;
  readonly measured: number;
}
const said = (estimate: number, measured: number): Said => ({ estimate, measured });

export const paperTransfer: Readonly<Record<NodeCount, { readonly minimal: Said; readonly cache: Said }>> = {
  4: { minimal: said(6.44, 6.52), cache: said(8.66, 8.44) },
  8: { minimal: said(6.76, 6.58), cache: said(9.03, 9.11) },
  16: { minimal: said(7.44, 7.45), cache: said(10.3, 10.4) },
};

export const paperInstall: Readonly<Record<ConfigurationName, Readonly<Record<NodeCount, { readonly none: Said; readonly cache: Said }>>>> = {
  'conf. 1': { 4: { none: said(25.7, 26.7), cache: said(12.8, 17.1) }, 8: { none: said(32.0, 34.3), cache: said(16.5, 18.7) }, 16: { none: said(41.5, 47.0), cache: said(19.1, 23.2) } },
  'conf. 2': { 4: { none: said(35.2, 29.7), cache: said(22.3, 17.1) }, 8: { none: said(43.4, 39.6), cache: said(27.9, 21.2) }, 16: { none: said(58.0, 54.8), cache: said(35.6, 24.4) } },
};

/** The whole build of 16 nodes, without and with the cache. */
export const paperWhole = { none: 103, cache: 73 } as const;
