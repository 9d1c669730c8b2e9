/**
 * Writes test/data/closures.json: what real apt would add to a gridvc base image for each of some fifty
 * functions, with the sizes of the .debs and of what they unpack to. Reads only; nothing is installed.
 *
 *   node dist/test/simulate/make-closures.js DPKG_STATUS_OF_A_BASE_LAYER > test/data/closures.json
 *
 * (A head keeps the status of its base as <home>/layers/<digest>.status.) Run once, on Debian 12; the
 * file's `made` field says when and from what. Versions do not matter to the simulator and are left out.
 */
import { parseNeeds, parseUris } from '../../src/image/apt-output.js';
import { runCommand } from '../../src/proc/command.js';

/** Most popular first: the simulator's Zipf ranks follow this order. */
const functions: Readonly<Record<string, readonly string[]>> = {
  'c-dev': ['gcc', 'g++', 'make', 'libc6-dev'],
  mpi: ['libopenmpi-dev', 'openmpi-bin'],
  'python-sci': ['python3', 'python3-numpy', 'python3-scipy', 'python3-mpi4py'],
  fortran: ['gfortran', 'make', 'libc6-dev'],
  octave: ['octave'],
  git: ['git', 'cmake', 'make'],
  blas: ['libopenblas-dev', 'liblapack-dev'],
  hdf5: ['libhdf5-dev', 'hdf5-tools'],
  r: ['r-base-core'],
  java: ['default-jre-headless'],
  pandas: ['python3-pandas'],
  plot: ['python3-matplotlib'],
  fftw: ['libfftw3-dev'],
  debug: ['gdb', 'valgrind', 'strace'],
  net: ['curl', 'rsync', 'dnsutils'],
  learn: ['python3-sklearn'],
  gromacs: ['gromacs'],
  postgres: ['postgresql'],
  web: ['nginx-light'],
  mpich: ['mpich', 'libmpich-dev'],
  netcdf: ['netcdf-bin', 'libnetcdf-dev'],
  petsc: ['libpetsc-real-dev'],
  genome: ['samtools', 'bwa'],
  blast: ['ncbi-blast+'],
  jupyter: ['jupyter-notebook'],
  gnuplot: ['gnuplot-nox'],
  clang: ['clang'],
  perl: ['perl', 'libdbi-perl'],
  apache: ['apache2'],
  php: ['php-cli', 'libapache2-mod-php'],
  mariadb: ['mariadb-server'],
  redis: ['redis-server'],
  node: ['nodejs'],
  jdk: ['openjdk-17-jdk-headless'],
  lammps: ['lammps'],
  quantum: ['quantum-espresso'],
  gdal: ['gdal-bin'],
  latex: ['texlive-latex-base'],
  ffmpeg: ['ffmpeg'],
  image: ['imagemagick'],
  graphviz: ['graphviz'],
  ruby: ['ruby'],
  go: ['golang-go'],
  rust: ['rustc', 'cargo'],
  haskell: ['ghc'],
  ocaml: ['ocaml-nox'],
  algebra: ['maxima', 'pari-gp'],
  scilab: ['scilab-cli'],
  erlang: ['erlang-base'],
  rabbit: ['rabbitmq-server'],
  tomcat: ['tomcat10'],
  memcached: ['memcached', 'haproxy'],
  zookeeper: ['zookeeperd'],
  sqlite: ['sqlite3'],
  emacs: ['emacs-nox'],
  slurm: ['slurm-client'],
};

const [status] = process.argv.slice(2);
if (status === undefined) throw new Error('which dpkg status file? see the header of this file');

const packages = new Map<string, { debBytes: number; index: number }>();
const closures: Record<string, { asked: readonly string[]; packages: number[] }> = {};
for (const [name, asked] of Object.entries(functions)) {
  const argv = ['apt-get', '-q', '-y', '--print-uris', '--no-install-recommends', '-o', `Dir::State::status=${status}`, '-o', 'Debug::NoLocking=1', '-o', 'Dir::Cache::archives=/nonexistent', 'install', '--', ...asked];
  const result = await runCommand(argv);
  if (result.code !== 0) throw new Error(result.reason);
  closures[name] = { asked, packages: parseUris(result.stdout).map((uri) => indexOf(uri.package.name, uri.package.debBytes)).sort((a, b) => a - b) };
}

function indexOf(name: string, debBytes: number): number {
  const known = packages.get(name) ?? { debBytes, index: packages.size };
  packages.set(name, known);
  return known.index;
}

const shown = await runCommand(['apt-cache', 'show', '--no-all-versions', ...packages.keys()]);
const installed = new Map(shown.stdout.split('\n\n').flatMap((stanza) => {
  const name = /^Package: (\S+)$/m.exec(stanza)?.[1];
  const size = /^Installed-Size: (\d+)$/m.exec(stanza)?.[1];
  return name === undefined || size === undefined ? [] : [[name, Number(size)] as const];
}));

const dependsOn = parseNeeds(shown.stdout);
const needs = [...packages.keys()].map((name) => (dependsOn.get(name) ?? []).flatMap((other) => packages.get(other)?.index ?? []).sort((a, b) => a - b));

const rows = [...packages].map(([name, { debBytes }]) => JSON.stringify([name, debBytes, installed.get(name) ?? 0]));
const lines = Object.entries(closures).map(([name, closure]) => `${JSON.stringify(name)}: ${JSON.stringify(closure)}`);
const made = `${new Date().toISOString().slice(0, 10)}, Debian bookworm amd64, apt-get install --print-uris without recommends over the base image of gridvc (test/simulate/make-closures.ts)`;
console.log(`{\n"made": ${JSON.stringify(made)},\n"columns": ["package", "bytes of the .deb", "KiB unpacked (Installed-Size)"],\n"packages": [\n${rows.join(',\n')}\n],\n"functions": {\n${lines.join(',\n')}\n},\n"needs": ${JSON.stringify(needs)}\n}`);
