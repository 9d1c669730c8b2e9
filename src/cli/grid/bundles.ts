/**
 * Functions by name, as the sites of the embedded grid offer them. A real site lists its own in the
 * head's configuration (docs/operations.md); these are good starting points for Debian 12.
 */
export const bundles: Readonly<Record<string, readonly string[]>> = {
  'c-dev': ['gcc', 'g++', 'make', 'libc6-dev'],
  fortran: ['gfortran', 'make', 'libc6-dev'],
  mpi: ['libopenmpi-dev', 'openmpi-bin'],
  octave: ['octave'],
  'python-sci': ['python3', 'python3-numpy', 'python3-scipy', 'python3-mpi4py'],
  r: ['r-base-core'],
  java: ['default-jre-headless'],
  web: ['nginx-light'],
  net: ['curl', 'rsync', 'dnsutils'],
};
