/**
 * What runs on nodes for a job, as POSIX shell. Pure text; every word of a user goes through quoteWord.
 *
 * A job has a directory of its own there, ~/.gridvc/<job>, that is all the state a gatekeeper needs to take it up again:
 *
 *   started/           made by the one runner that won; a second start does nothing
 *   refused            "CODE TEXT": why it did not begin
 *   pid                of the runner, leader of its own session: it outlives the ssh connection and the gatekeeper
 *   out err            standard output and error, only ever appended to
 *   code               exit code, there when the program has ended
 *   proxy program stdin hosts in/N    what was sent
 *
 * Every process of a job has GRIDVC_JOB=<job> in its environment; that is how it is found to be killed.
 */
import { quoteCommand, quoteWord } from '../../src/node/quote.js';
import type { Program } from './job-request.js';
import { codes } from './protocol.js';

/** "sh -c SCRIPT sh WORDS": one line for the login shell of a node. */
function line(script: string, ...words: readonly string[]): string {
  return quoteCommand(['sh', '-c', script, 'sh', ...words]);
}

const enter = 'umask 077; d=$HOME/.gridvc/$1; ';
const receive = `mkdir -p "$d" && cd "$d" && tar -xf - || { echo "refused ${codes.stageInFailed} the job's directory $d could not be written (is the disk full?)"; exit 0; }; `;

/**
 * Says "running", "refused CODE TEXT" or "lost" on its first line, then what is appended to out and err from the given
 * bytes on ("-": nothing of it), and ends as the program did. tail is woken by the system where it can be, and looks
 * every 50 ms where not (overlay filesystems).
 */
const watch = `[ -d started ] || { echo lost; exit 0; }
i=0
while [ ! -e pid ] && [ ! -e refused ] && [ $i -lt 500 ]; do i=$((i+1)); sleep 0.02; done
if [ -e refused ]; then printf 'refused '; cat refused; exit 0; fi
[ -e pid ] || { echo "refused ${codes.jobExecutionFailed} the runner of the job did not begin"; exit 0; }
read -r p < pid
grep -qzxF "GRIDVC_JOB=$1" "/proc/$p/environ" 2>/dev/null || p=0
echo running
follow() { if [ $p = 0 ]; then tail -c "+$2" "$1"; else tail -c "+$2" -s 0.05 -f --pid="$p" "$1"; fi; }
[ "$2" = - ] || follow out "$2" &
[ "$3" = - ] || follow err "$3" >&2 &
follow /dev/null 1 &
wait
[ -e code ] || kill -KILL $$
read -r c < code
exit "$c"`;

/** Unpacks the tar on its standard input, starts the job if nobody did, and watches it. @param from bytes, counted from 1 */
export function startLine(job: string, from: Offsets): string {
  const start = 'GRIDVC_JOB=$1 setsid sh ./run > /dev/null 2>&1 < /dev/null & i=0; while [ ! -d started ] && [ $i -lt 500 ]; do i=$((i+1)); sleep 0.01; done; ';
  return line(enter + receive + start + watch, job, ...offsetWords(from));
}

export function followLine(job: string, from: Offsets): string {
  return line(`${enter}cd "$d" 2>/dev/null || { echo lost; exit 0; }; ${watch}`, job, ...offsetWords(from));
}

export interface Offsets {
  /** Bytes that we have; undefined: the stream is not wanted. */
  readonly out: number | undefined;
  readonly err: number | undefined;
}

function offsetWords({ out, err }: Offsets): string[] {
  return [out, err].map((have) => (have === undefined ? '-' : String(have + 1)));
}

/** Unpacks only: for the other nodes of an MPI job. Says "ready". */
export function prepareLine(job: string): string {
  return line(`${enter}${receive}echo ready`, job);
}

/** TERM to all processes of the job, KILL to those that are left after two seconds. */
export function killLine(job: string): string {
  return line('mine() { grep -lzxF "GRIDVC_JOB=$1" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3; }; kill -TERM $(mine "$1") 2>/dev/null; i=0; while [ $i -lt 20 ] && [ -n "$(mine "$1")" ]; do i=$((i+1)); sleep 0.1; done; kill -KILL $(mine "$1") 2>/dev/null; true', job);
}

/** Replaces the proxy by its standard input. */
export function renewLine(job: string): string {
  return line(`${enter}cd "$d" && cat > proxy.new && mv proxy.new proxy`, job);
}

/** The bytes of a file, or of the job's own "out" or "err"; ends with 1 if it cannot be read. */
export function readLine(job: string, directory: string | undefined, path: string): string {
  return path === 'out' || path === 'err' ? line(`${enter}cat "$d/$2"`, job, path) : line('cd "$2" && cat -- "$3"', job, directory ?? '/home/grid', path);
}

/** Removes the job's directory, and the files that its RSL names. */
export function cleanLine(job: string, directory: string | undefined, files: readonly string[]): string {
  return line('rm -rf "$HOME/.gridvc/$1"; cd "$2" 2>/dev/null && shift 2 && rm -f -- "$@"; true', job, directory ?? '/home/grid', ...files);
}

export interface RunnerPlan {
  readonly job: string;
  readonly program: Program;
  /** Processes on this node; for MPI on all nodes. */
  readonly processes: number;
  readonly environment: readonly (readonly [string, string])[];
  /** MPI only: more processes than slots. */
  readonly crowded: boolean;
}

/** The script "run" of a job on one node. Its own tools have whole paths: PATH may be the user's. */
export function runScript({ job, program, processes, environment, crowded }: RunnerPlan): string {
  const all = [...environment, ...program.environment];
  const names = [...new Set(all.map(([name]) => name)), 'GRIDVC_JOB'];
  return [
    '#!/bin/sh',
    `# job ${job} of gridvc`,
    `cd "$HOME/.gridvc/${job}" || exit 1`,
    'd=$PWD',
    'mkdir started 2>/dev/null || exit 0',
    "refuse() { printf '%s %s\\n' \"$1\" \"$2\" > \"$d/refused.new\"; /bin/mv \"$d/refused.new\" \"$d/refused\"; exit 1; }",
    ...(program.scratch ? ['mkdir -p scratch'] : []),
    ...all.map(([name, value]) => `export ${name}=${quoteWord(value)}`),
    'umask 022',
    ...(program.directory === undefined ? ['cd "$HOME"'] : [`cd -- ${quoteWord(program.directory)} 2>/dev/null || ${refuse(codes.badDirectory, `there is no directory ${program.directory}`)}`]),
    ...program.stageIn.map(({ path }, i) => `/bin/cp "$d/in/${i}" ${quoteWord(path)} 2>/dev/null || ${refuse(codes.stageInFailed, `${path} cannot be written`)}`),
    ...executable(program),
    ...standardInput(program),
    ...standardOutput(program, 'stdout'),
    ...standardOutput(program, 'stderr'),
    ...(program.cpuMinutes === undefined ? [] : [`ulimit -t ${program.cpuMinutes * 60}`]),
    `set -- ${quoteCommand(program.arguments)}`,
    ...(program.type === 'mpi' ? mpi(processes, names, crowded) : []),
    'trap : TERM', // the runner stays to write the code; the program has the signal as ever
    'echo $$ > "$d/pid.new"; /bin/mv "$d/pid.new" "$d/pid"',
    ...(program.type === 'mpi' || processes === 1 ? ['"$x" "$@" < "$i" >> "$o" 2>> "$e"', 'c=$?'] : several(processes)),
    ...copies(program),
    'echo "$c" > "$d/code.new"; /bin/mv "$d/code.new" "$d/code"',
    '',
  ].join('\n');
}

function refuse(code: number, text: string): string {
  return `refuse ${code} ${quoteWord(text.replaceAll(/[\r\n]+/g, ' ').slice(0, 500))}`;
}

function executable({ executable: source, directory }: Program): string[] {
  if (source.kind === 'gass') return ['x=$d/program'];
  const { path } = source;
  const word = quoteWord(path);
  const missing = refuse(codes.executableNotFound, `there is no executable ${path}${path.startsWith('/') ? '' : ` in ${directory ?? 'the home directory'}${path.includes('/') ? '' : ' or on the PATH'}`}`);
  const found = path.includes('/') ? [`x=${word}`] : [`x=./${word}`, `[ -f "$x" ] || x=$(command -v -- ${word})`, 'case $x in */*) ;; *) x= ;; esac'];
  return [...found, `[ -f "$x" ] || ${missing}`, `[ -x "$x" ] || ${refuse(codes.executablePermissions, `${path} may not be executed`)}`];
}

function standardInput({ stdin }: Program): string[] {
  if (stdin === undefined) return ['i=/dev/null'];
  if (stdin.kind === 'gass') return ['i=$d/stdin'];
  return [`i=${quoteWord(stdin.path)}`, `[ -r "$i" ] || ${refuse(codes.stdinNotFound, `there is no file ${stdin.path} to be read as stdin`)}`];
}

/** To a file on the node, which then is what the gatekeeper follows, or to the job's own; to nowhere if nobody wants it. */
function standardOutput(program: Program, stream: 'stdout' | 'stderr'): string[] {
  const [variable, own, code] = stream === 'stdout' ? ['o', 'out', codes.openingStdout] : ['e', 'err', codes.openingStderr];
  const destinations = program[stream];
  if (destinations.length === 0) return [`: > "$d/${own}"`, `${variable}=/dev/null`];
  const path = destinations.flatMap((to) => (to.kind === 'node' ? [to.path] : []))[0];
  if (path === undefined) return [`${variable}=$d/${own}`, `(umask 077; : > "$${variable}")`];
  const missing = refuse(code, `${path} cannot be written`);
  return [`${variable}=${quoteWord(path)}`, `( : > "$${variable}" ) 2>/dev/null || ${missing}`, `case $${variable} in /*) ;; *) ${variable}=$PWD/$${variable} ;; esac`, `/bin/ln -sf "$${variable}" "$d/${own}"`];
}

/** Further files on the node that want the same. */
function copies(program: Program): string[] {
  return (['stdout', 'stderr'] as const).flatMap((stream) =>
    program[stream]
      .flatMap((to) => (to.kind === 'node' ? [to.path] : []))
      .slice(1)
      .map((path) => `/bin/cp "$${stream === 'stdout' ? 'o' : 'e'}" ${quoteWord(path)}`),
  );
}

function mpi(processes: number, names: readonly string[], crowded: boolean): string[] {
  const exported = names.map((name) => `-x ${name}`).join(' ');
  return [
    `m=$(command -v mpirun) || ${refuse(codes.mpirunNotFound, 'there is no mpirun on the nodes; ask for one: (bundles=mpi)')}`,
    `set -- --hostfile "$d/hosts" -np ${processes}${crowded ? ' --oversubscribe' : ''} --wdir "$PWD" ${exported} "$x" "$@"`,
    'x=$m',
  ];
}

/** Each has its own copy of standard input; the first code that is not 0 is the node's. */
function several(processes: number): string[] {
  return [
    'n=0 all=',
    `while [ $n -lt ${processes} ]; do "$x" "$@" < "$i" >> "$o" 2>> "$e" & all="$all $!"; n=$((n+1)); done`,
    'c=0',
    'for p in $all; do', // wait ends early when TERM comes
    '  while wait "$p"; k=$?; kill -0 "$p" 2>/dev/null; do :; done',
    '  [ $c != 0 ] || c=$k',
    'done',
  ];
}
