/** proxy init|info|destroy: RFC 3820 proxy certificates, in files that the Globus tools share. */
import type { Command } from 'commander';
import { action, example, gatekeeperOption, jsonOption, whole } from './declare.js';
import type { CommonOptions } from './cluster.js';

export interface InitOptions {
  readonly hours: number;
  readonly rsa?: boolean;
  readonly limited?: boolean;
  readonly pathLength?: number;
  readonly voms?: readonly string[];
  readonly vomses?: string;
  readonly out?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly pwstdin?: boolean;
  readonly json?: boolean;
}

export interface InfoOptions {
  readonly file?: string;
  readonly exists?: boolean;
  readonly hours?: number;
  readonly json?: boolean;
}

export function addProxyCommands(program: Command): void {
  const proxy = program.command('proxy').description('short-lived proxy certificates (RFC 3820), as grid-proxy-init makes them');
  example(
    proxy
      .command('init')
      .description('make a proxy of the user certificate; asks for the passphrase of an encrypted key')
      .option('--hours <n>', 'how long it lives', whole(1, 24 * 365), 12)
      .option('--rsa', 'RSA-2048 key, for old servers (default: EC P-256)')
      .option('--limited', 'may not start jobs')
      .option('--path-length <n>', 'how many proxies may follow it', whole(0, 20))
      .option('--voms <vo[:fqan]>', 'with attributes of this VO from its VOMS server, by voms-proxy-init; RSA key (repeat)', (text: string, before: readonly string[] = []) => [...before, text])
      .option('--vomses <file>', 'where the VOMS servers are named (default: as voms-proxy-init has it)')
      .option('-o, --out <file>', 'where to write it (default: X509_USER_PROXY, else the embedded grid\'s, else /tmp/x509up_u<uid>)')
      .option('--cert <file>', 'user certificate (default: X509_USER_CERT, else the embedded grid\'s, else ~/.globus/usercert.pem)')
      .option('--key <file>', 'its key')
      .option('--pwstdin', 'read the passphrase from standard input')
      .addOption(jsonOption())
      .action(action(async (options: InitOptions, _command: Command) => (await import('../proxy.js')).init(options))),
    'gridvc proxy init --hours 24',
    'gridvc proxy init --voms biomed:/biomed/Role=production',
  );
  example(
    proxy
      .command('info')
      .description('show a proxy; exit code 3 if there is none, 1 if it has expired')
      .option('-f, --file <file>', 'proxy file (default: as above)')
      .option('--exists', 'print nothing; exit code 0 if it is valid')
      .option('--hours <n>', 'with --exists: for at least so long', whole(0, 24 * 365))
      .addOption(jsonOption())
      .action(action(async (options: InfoOptions, _command: Command) => (await import('../proxy.js')).info(options))),
    'gridvc proxy info --exists --hours 2 || gridvc proxy init',
  );
  example(
    proxy
      .command('destroy')
      .description('overwrite and remove a proxy')
      .option('-f, --file <file>', 'proxy file (default: as above)')
      .action(action(async (options: { file?: string }, _command: Command) => (await import('../proxy.js')).destroy(options))),
    'gridvc proxy destroy',
  );
  example(
    proxy
      .command('delegate')
      .description('give the gatekeeper a proxy of its own, so that clusters may outlive the one you sign in with')
      .option('--hours <n>', 'how long it lives', whole(1, 24 * 365), 168)
      .option('--cert <file>', 'user certificate that signs it (default: as for init; without one the proxy signs)')
      .option('--key <file>', 'its key')
      .option('--pwstdin', 'read the passphrase from standard input')
      .addOption(jsonOption())
      .addOption(gatekeeperOption())
      .action(action(async (options: CommonOptions & InitOptions, _command: Command) => (await import('../delegate.js')).delegate(options))),
    'gridvc proxy delegate --hours 72',
  );
}
