/**
 * `gridvc proxy init --voms`: attributes come from a VOMS server in a protocol of its own, which voms-proxy-init of the
 * VOMS clients speaks; gridvc runs that one and keeps its proxy only if the attributes are really in it.
 */
import { randomBytes } from 'node:crypto';
import { accessSync, constants, readFileSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { GridError } from '../domain/error.js';
import { readCertificate } from '../pki/certificate.js';
import * as oids from '../pki/oids.js';
import { certificatesOf } from '../pki/pem.js';
import { runInteractive } from '../proc/interactive.js';
import type { InitOptions } from './commands/proxy.js';
import type { Credential } from './settings.js';

const tool = 'voms-proxy-init';

/** Makes the proxy in `file`; the tool itself asks for the passphrase. @param trust gives the directory of the CAs that VOMS servers are believed under */
export async function makeVomsProxy(options: InitOptions, source: Credential, file: string, trust: () => string): Promise<void> {
  const { voms = [], hours, vomses, pathLength } = options;
  if (!installed()) throw new GridError('unavailable', `${tool} is not installed: gridvc needs it to speak with VOMS servers`, { hint: 'apt-get install voms-clients' });
  const beside = `${file}.${randomBytes(6).toString('hex')}`;
  const words = [
    ...['-rfc', '-quiet', '-bits', '2048', '-hours', String(hours), '-vomslife', `${hours}:0`, '-certdir', trust(), '-cert', source.certificate, '-key', source.key, '-out', beside],
    ...voms.flatMap((each) => ['-voms', each]),
    ...(vomses === undefined ? [] : ['-vomses', vomses]),
    ...(pathLength === undefined ? [] : ['-path-length', String(pathLength)]),
    ...(options.limited === true ? ['-limited'] : []),
    ...(options.pwstdin === true ? ['-pwstdin'] : []),
  ];
  try {
    const code = await runInteractive([tool, ...words]);
    if (code !== 0) throw new GridError('unavailable', `${tool} gave no attributes of ${voms.join(', ')} (it ended with ${code}; its own words are above)`, { hint: 'look at the vomses file, the name of the VO, and your membership' });
    if (!hasAttributes(beside)) throw new GridError('unavailable', `${tool} made a proxy without attributes of ${voms.join(', ')}`);
    renameSync(beside, file);
  } finally {
    rmSync(beside, { force: true });
  }
}

function hasAttributes(file: string): boolean {
  const [leaf] = certificatesOf(readFileSync(file, 'latin1'));
  return leaf !== undefined && readCertificate(leaf).extensions.has(oids.vomsAttributeCertificates);
}

function installed(): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
