/** authz explain: for administrators of a gatekeeper. */
import { Option, type Command } from 'commander';
import { operations } from '../../../gatekeeper/authorization/operations.js';
import { action, example, jsonOption } from './declare.js';

export interface ExplainOptions {
  readonly subject: string;
  readonly fqan?: readonly string[];
  readonly issuer?: string;
  readonly limited?: boolean;
  readonly operation: string;
  readonly config?: string;
  readonly json?: boolean;
}

export function addAuthorizationCommands(program: Command): void {
  const authz = program.command('authz').description('what the files of a gatekeeper let somebody do (on the gatekeeper, as its administrator)');
  example(
    authz
      .command('explain')
      .description('say which line of which file lets somebody do something, or refuses; exit code 0 if permitted, 1 if not')
      .requiredOption('--subject <dn>', 'whose certificate, like /O=Grid/CN=Alice')
      .option('--fqan <fqan>', 'VOMS attribute, the primary one first (repeat)', (text: string, before: readonly string[] = []) => [...before, text])
      .option('--issuer <dn>', 'the authority that issued the certificate')
      .option('--limited', 'with a limited proxy')
      .addOption(new Option('--operation <name>', 'what is asked').choices([...operations]).makeOptionMandatory())
      .option('--config <file>', "the gatekeeper's configuration (default: the embedded grid's, else /etc/gridvc/gatekeeper.yaml)")
      .addOption(jsonOption())
      .action(action(async (options: ExplainOptions, _command: Command) => (await import('../authz.js')).explainTo(options))),
    "gridvc authz explain --subject '/O=Grid/CN=Alice' --operation createCluster",
    "gridvc authz explain --subject '/O=Grid/CN=Bob' --fqan /biomed/Role=production --operation getAccess --json",
  );
}
