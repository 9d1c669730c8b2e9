/** plan, create, list, show, watch, extend, destroy: the life of a cluster. */
import { Argument, Option, type Command } from 'commander';
import { failurePolicies } from '../../domain/request.js';
import { action, example, gatekeeperOption, jsonOption, several, whole } from './declare.js';

export interface RequestOptions {
  readonly rsl?: string;
  readonly count?: number;
  readonly minCount?: number;
  readonly memory?: number;
  readonly disk?: number;
  readonly vcpus?: number;
  readonly os?: string;
  readonly package?: readonly string[];
  readonly bundle?: readonly string[];
  readonly file?: readonly string[];
  readonly lifetime?: number;
  readonly site?: readonly string[];
  readonly placement?: string;
  readonly onFailure?: string;
  readonly sshKey?: readonly string[];
  readonly exact?: string;
}

export interface CommonOptions {
  readonly gatekeeper?: string;
  readonly json?: boolean;
}

export type CreateOptions = RequestOptions & CommonOptions & { readonly wait?: boolean; readonly key?: string };

export function addClusterCommands(program: Command): void {
  const plan = withRequest(program.command('plan').description('say where a cluster would be placed and how long it would take; changes nothing'));
  example(
    plan.action(action(async (file: string | undefined, options: RequestOptions & CommonOptions, _command: Command) => (await import('../clusters.js')).plan(file, options))),
    'gridvc plan --count 4 --bundle mpi',
    'gridvc plan examples/mpi.rsl',
  );
  const create = withRequest(program.command('create').description('create a cluster and print its id'))
    .option('--wait', 'show the progress until it is ready; exit code 1 if it fails')
    .option('--key <key>', 'idempotency key: the same key with the same request gives the same cluster');
  example(
    create.action(action(async (file: string | undefined, options: CreateOptions, _command: Command) => (await import('../clusters.js')).create(file, options))),
    'gridvc create --count 4 --bundle c-dev --bundle mpi --memory 320 --wait',
    'gridvc create examples/mpi.rsl --wait',
    "gridvc create --rsl '&(count=2)(packages=octave)'",
  );
  common(
    program,
    'list',
    'list your clusters',
    (command) => command.option('--all', 'also those that are gone'),
    'gridvc list',
  ).action(action(async (options: CommonOptions & { all?: boolean }, _command: Command) => (await import('../clusters.js')).list(options)));
  common(program, 'show <id>', 'show a cluster: state, nodes, seconds predicted and measured', same, 'gridvc show c1a2b3c4').action(
    action(async (id: string, options: CommonOptions, _command: Command) => (await import('../clusters.js')).show(id, options)),
  );
  common(program, 'watch <id>', 'follow a cluster until it is ready or gone; exit code 1 if it failed', same, 'gridvc watch c1a2b3c4').action(
    action(async (id: string, options: CommonOptions, _command: Command) => (await import('../clusters.js')).watch(id, options)),
  );
  common(program, 'extend', 'let a cluster live for so many minutes from now', (command) => command.argument('<id>').addArgument(new Argument('<minutes>').argParser(whole(1, 525_600))), 'gridvc extend c1a2b3c4 120').action(
    action(async (id: string, minutes: number, options: CommonOptions, _command: Command) => (await import('../clusters.js')).extend(id, minutes, options)),
  );
  common(program, 'destroy <ids...>', 'destroy clusters: nodes, disks, certificates, addresses', (command) => command.option('--wait', 'until nothing is left of them'), 'gridvc destroy c1a2b3c4 --wait').action(
    action(async (ids: readonly string[], options: CommonOptions & { wait?: boolean }, _command: Command) => (await import('../clusters.js')).destroy(ids, options)),
  );
}

const same = (command: Command): Command => command;

function common(program: Command, nameAndArgs: string, description: string, more: (command: Command) => Command, line: string): Command {
  const command = more(program.command(nameAndArgs).description(description)).addOption(jsonOption()).addOption(gatekeeperOption());
  return example(command, line);
}

/** The request: an RSL file (or - for standard input), an RSL text, or options. */
function withRequest(command: Command): Command {
  return command
    .argument('[file]', 'RSL file, or - for standard input')
    .option('--rsl <text>', 'the request as RSL text')
    .option('-n, --count <n>', 'nodes', whole(1, 1_000_000))
    .option('--min-count <n>', 'nodes that will do, with --on-failure minimum', whole(1, 1_000_000))
    .option('-m, --memory <MiB>', 'memory per node', whole(1, 1 << 30))
    .option('--disk <MiB>', 'disk per node', whole(1, 1 << 30))
    .option('--vcpus <n>', 'processors per node', whole(1, 4096))
    .option('--os <release>', 'Debian release, like bookworm')
    .option('-p, --package <name>', 'Debian package (repeat, or separate by commas)', several)
    .option('-b, --bundle <name>', 'function by name, like mpi or c-dev (repeat, or separate by commas)', several)
    .option('-f, --file <local:path>', 'copy a local file (or an upload, u-...) to this path on every node (repeat)', collect)
    .option('-t, --lifetime <minutes>', 'until everything is torn down', whole(1, 525_600))
    .option('--site <name>', 'only these sites (repeat, or separate by commas)', several)
    .addOption(new Option('--placement <how>', 'as few sites as possible, or evenly over all').choices(['pack', 'spread']))
    .addOption(new Option('--on-failure <policy>', 'give up, go on with --min-count, go on with any').choices([...failurePolicies]))
    .addOption(new Option('--exact', 'no package on the nodes beyond those asked and their dependencies').preset('yes'))
    .option('--ssh-key <file>', 'OpenSSH public key that may log in, besides your gridvc key (repeat)', collect)
    .addOption(jsonOption())
    .addOption(gatekeeperOption());
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}
