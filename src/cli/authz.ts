/** The action of `gridvc authz explain`: the gatekeeper's own decision on its own files, shown. */
import { readFileSync } from 'node:fs';
import { explain } from '../../gatekeeper/authorization/explain.js';
import { readOperation } from '../../gatekeeper/authorization/rules.js';
import { parseGatekeeperConfig } from '../../gatekeeper/config.js';
import { isFqan } from '../../gatekeeper/identity/name-pattern.js';
import { GridError } from '../domain/error.js';
import { makeLog } from '../log.js';
import { encodeDn, globusDn } from '../pki/dn.js';
import type { ExplainOptions } from './commands/authz.js';
import { findGrid } from './grid/state.js';
import { stateHome, thisEnvironment } from './settings.js';
import { exitCodes, print, printJson, table } from './terminal.js';

const usualConfig = '/etc/gridvc/gatekeeper.yaml';

/** @returns 0 if it is permitted, 1 if not */
export async function explainTo(options: ExplainOptions): Promise<number> {
  const file = options.config ?? findGrid(stateHome(thisEnvironment()))?.layout.gatekeeper.config ?? usualConfig;
  const config = parseGatekeeperConfig(readConfig(file), file);
  const fqans = options.fqan ?? [];
  const odd = fqans.find((fqan) => !isFqan(fqan));
  if (odd !== undefined) throw new GridError('bad-request', `${JSON.stringify(odd)} is not an FQAN`, { hint: 'like /biomed/Role=production' });
  const operation = readOperation(options.operation);
  const subject = asCertificatesSay(options.subject);
  const question = { subject, issuer: options.issuer === undefined ? '' : asCertificatesSay(options.issuer), fqans, limited: options.limited === true, operation };
  const { permitted, decided, steps } = explain(config, question, makeLog('cli', 'warn'));
  if (options.json === true) printJson({ permitted, decided, steps, ...question, config: file });
  else {
    print(`${subject} may${permitted ? '' : ' not'} ${operation}: decided by ${decided.by || decided.step}${decided.text === '' ? '' : `  ${decided.text}`}\n`);
    print(table(['step', 'verdict', 'by', 'text'], steps.map(({ step, verdict, by, text }) => [step, verdict, by, text])));
  }
  return permitted ? exitCodes.done : exitCodes.failed;
}

/** A DN as typed -> as globusDn writes the same name of a certificate. */
function asCertificatesSay(dn: string): string {
  return globusDn(encodeDn(dn));
}

function readConfig(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new GridError('not-found', `the configuration ${file} cannot be read: ${(error as Error).message}`, { hint: "name the gatekeeper's with --config FILE" });
  }
}
