/** chain verify: the gatekeeper's validator on the command line. */
import type { Command } from 'commander';
import { action, example, jsonOption } from './declare.js';

export interface VerifyOptions {
  readonly trust?: string;
  readonly vomsdir?: string;
  readonly at?: string;
  readonly requireCrl?: boolean;
  readonly batch?: boolean;
  readonly json?: boolean;
}

export function addChainCommands(program: Command): void {
  const chain = program.command('chain').description('certificate chains, validated as the gatekeeper does');
  example(
    chain
      .command('verify')
      .description('validate a chain (a proxy file will do; keys in it are not looked at); exit code 0 valid, 1 refused, 2 wrong usage')
      .argument('[chain.pem]', 'PEM, the leaf first; - for standard input')
      .option('--trust <dir>', 'trust directory with HASH.0, HASH.signing_policy, HASH.r0 (default: X509_CERT_DIR)')
      .option('--vomsdir <dir>', 'directory of VOMS servers, VO/HOST.lsc (default: X509_VOMS_DIR; without it no FQANs)')
      .option('--at <time>', 'validate as if it were this time, such as 2026-01-31T12:00:00Z')
      .option('--require-crl', 'refuse an authority that has no revocation list')
      .option('--batch', 'read one JSON object a line, {chain, trust?, vomsdir?, at?}, and answer one line each, in order; exit code 0 when all are answered')
      .addOption(jsonOption())
      .action(action(async (file: string | undefined, options: VerifyOptions, _command: Command) => (await import('../chain.js')).verify(file, options))),
    'gridvc chain verify --trust /etc/grid-security/certificates /tmp/x509up_u1000',
    'gridvc chain verify --batch < chains.jsonl > verdicts.jsonl',
  );
}
