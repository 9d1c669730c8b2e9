/**
 * The gridvc command. This file and commands/ only declare; what a command does is loaded when it runs, so that
 * help and completion are quick. Exit codes: see terminal.ts.
 */
import { Command, CommanderError } from 'commander';
import { addAccessCommands } from './commands/access.js';
import { addChainCommands } from './commands/chain.js';
import { addAuthorizationCommands } from './commands/authz.js';
import { addClusterCommands } from './commands/cluster.js';
import { addEstimateCommands } from './commands/estimate.js';
import { addGridCommands } from './commands/grid.js';
import { addHostCommands } from './commands/host.js';
import { addImageCommands } from './commands/image.js';
import { addMachineCommands } from './commands/machine.js';
import { addProxyCommands } from './commands/proxy.js';
import { addSiteCommands } from './commands/site.js';
import { exitCodes, note } from './terminal.js';

/** Every command with its help; nothing is run. */
export function makeProgram(): Command {
  const program = new Command('gridvc')
    .description('Clusters of Debian machines with the software you ask for, in seconds, on grid resources that trust X.509 certificates.')
    .version('0.1.0', '-V, --version')
    .exitOverride()
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false })
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'gridvc: ').replace(/\n\(Did you mean/, '\nhint: (did you mean')) })
    .showSuggestionAfterError(true)
    .addHelpText(
      'after',
      `
Environment: GRIDVC_GATEKEEPER, GRIDVC_HOME, X509_USER_PROXY, X509_USER_CERT, X509_USER_KEY, X509_CERT_DIR
Exit codes:  0 done, 1 failed or refused, 2 wrong usage, 3 no such cluster, file or site, 130 interrupted
             (exec and ssh: the exit code of the command on the node)

Example:
  $ sudo gridvc grid up
  $ sudo gridvc create --count 4 --bundle c-dev --bundle mpi --wait`,
    );
  addMachineCommands(program);
  addGridCommands(program);
  addProxyCommands(program);
  addChainCommands(program);
  addClusterCommands(program);
  addAccessCommands(program);
  addSiteCommands(program);
  addAuthorizationCommands(program);
  addHostCommands(program);
  addImageCommands(program);
  addEstimateCommands(program);
  return program;
}

/** Runs one command line. @returns the exit code */
async function main(argv: readonly string[]): Promise<number> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? exitCodes.done : exitCodes.failed));
  const program = makeProgram();
  try {
    await program.parseAsync([...argv]);
    return Number(process.exitCode ?? exitCodes.done);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const asked = ['commander.helpDisplayed', 'commander.version'].includes(error.code);
    if (!asked && error.code !== 'commander.help') note(`hint: ${helpFor(program, argv.slice(2))}`);
    return asked ? exitCodes.done : exitCodes.usage;
  }
}

/** The help of the command that was meant, as far as it exists. */
function helpFor(program: Command, words: readonly string[]): string {
  let command = program;
  const names = ['gridvc'];
  for (const word of words) {
    const next = command.commands.find((each) => each.name() === word);
    if (next === undefined) break;
    command = next;
    names.push(word);
  }
  return [...names, '--help'].join(' ');
}

if (process.argv[1] !== undefined && /(^|\/)(main\.js|gridvc)$/.test(process.argv[1])) process.exitCode = await main(process.argv);
