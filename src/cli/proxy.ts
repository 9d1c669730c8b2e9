/** The actions of `gridvc proxy`: RFC 3820 proxies in the files and words of grid-proxy-init, -info and -destroy. */
import { createPrivateKey, type KeyObject } from 'node:crypto';
import { existsSync, lstatSync, readFileSync, statSync } from 'node:fs';
import { GridError } from '../domain/error.js';
import { issueProxy, type Issuer } from '../pki/issue.js';
import { formatProxy, parseCredential, proxyInfo, readProxyFile, writeProxyFile, type ProxyDescription, type ProxyKind } from '../pki/proxy-file.js';
import type { InfoOptions, InitOptions } from './commands/proxy.js';
import { wipe } from './files.js';
import { readPassphrase } from './passphrase.js';
import { embeddedGrid, findTrust, findUserCertificate, proxyFile, thisEnvironment, type Credential } from './settings.js';
import { clock, exitCodes, note, print, printJson } from './terminal.js';

const hour = 3_600_000;

export async function init(options: InitOptions): Promise<void> {
  const environment = thisEnvironment();
  const grid = embeddedGrid(environment);
  const source = chooseSource(options, () => findUserCertificate(environment, grid));
  const file = options.out ?? proxyFile(environment, grid);
  if (options.json !== true) note(`user certificate: ${source.certificate} (${source.from})`);
  if (options.voms !== undefined) await (await import('./voms.js')).makeVomsProxy(options, source, file, () => findTrust(environment, grid));
  else if (options.vomses !== undefined) throw new GridError('bad-request', '--vomses names VOMS servers, but no --voms says of which VO attributes are wanted', { hint: 'like --voms biomed' });
  else await write(file, await makeProxy(await openIssuer(source, options.pwstdin === true), options));
  const made = proxyInfo(readFileSync(file, 'latin1'));
  if (options.json === true) return printJson(describe(made, file));
  print(`proxy of ${made.identity}, valid until ${made.notAfter.toISOString()}, in ${file}`);
  if (made.secondsLeft < options.hours * 3600 - 60) note(`warning: it ends before the ${options.hours} hours that you asked for, since the user certificate ends then`);
}

async function write(file: string, proxy: { chain: string; key: string }): Promise<void> {
  await writeProxyFile(file, proxy).catch((error: NodeJS.ErrnoException) => {
    throw new GridError('unavailable', `the proxy cannot be written to ${file}: ${error.message}`, { hint: 'choose another place: --out FILE, or X509_USER_PROXY' });
  });
}

export async function info(options: InfoOptions): Promise<number> {
  const environment = thisEnvironment();
  const file = options.file ?? proxyFile(environment, embeddedGrid(environment));
  if (!existsSync(file)) {
    if (options.exists === true) return exitCodes.notFound;
    throw new GridError('not-found', `there is no proxy in ${file}`, { hint: 'make one: gridvc proxy init' });
  }
  const found = proxyInfo(formatProxy(await readProxyFile(file)));
  const valid = found.secondsLeft > (options.hours ?? 0) * 3600;
  if (options.exists === true) return valid ? exitCodes.done : exitCodes.failed;
  if (options.json === true) printJson(describe(found, file));
  else print(infoText(found, file));
  return valid ? exitCodes.done : exitCodes.failed;
}

/** Only what is a proxy is wiped: -f with a user key by mistake must not cost the key. */
export async function destroy(options: { readonly file?: string }): Promise<void> {
  const environment = thisEnvironment();
  const file = options.file ?? proxyFile(environment, embeddedGrid(environment));
  const stat = lstatSync(file, { throwIfNoEntry: false });
  if (stat === undefined) throw new GridError('not-found', `there is no proxy in ${file}`);
  if (!stat.isFile() || !isProxy(file)) throw new GridError('bad-request', `${file} is not a proxy file; it is left alone`, { hint: 'remove it by hand if you are sure' });
  wipe(file, stat.size);
}

/** The certificate and key of --cert and --key (either may hold both), else the default. */
export function chooseSource<T>(options: Pick<InitOptions, 'cert' | 'key'>, byDefault: () => T): Credential | T {
  if (options.cert === undefined && options.key === undefined) return byDefault();
  const certificate = options.cert ?? options.key ?? '';
  return { kind: 'certificate', certificate, key: options.key ?? certificate, from: 'the command line' };
}

/** Reads and decrypts a user certificate's key. @throws not-authenticated if it is open to others, expired, or not its own */
export async function openIssuer(source: Credential, passphraseFromInput: boolean): Promise<Issuer> {
  const certificate = read(source.certificate);
  const key = read(source.key);
  if ((statSync(source.key).mode & 0o077) !== 0) throw new GridError('not-authenticated', `others may read the private key ${source.key}`, { hint: `chmod 400 ${source.key}` });
  const open = await openKey(key, source.key, passphraseFromInput);
  const issuer = { certificate, key: open.export({ type: 'pkcs8', format: 'pem' }) as string };
  checkPair(issuer, source);
  if (proxyInfo(certificate).secondsLeft === 0) throw new GridError('not-authenticated', `the user certificate ${source.certificate} has expired`, { hint: 'ask your CA for a new one; the embedded grid renews its own: gridvc grid up' });
  return issuer;
}

function checkPair(issuer: Issuer, source: Credential): void {
  const certificates = issuer.certificate.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----\n?/g) ?? [];
  try {
    parseCredential(certificates.join('') + issuer.key);
  } catch (error) {
    throw new GridError('not-authenticated', `${source.certificate} with ${source.key}: ${(error as Error).message}`);
  }
}

async function openKey(pem: string, file: string, passphraseFromInput: boolean): Promise<KeyObject> {
  const encrypted = /BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/.test(pem);
  const passphrase = encrypted ? await readPassphrase(`passphrase of ${file}: `, passphraseFromInput) : undefined;
  try {
    return createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch (error) {
    throw new GridError('not-authenticated', encrypted ? `the passphrase does not open ${file}` : `${file} has no private key that can be read: ${(error as Error).message}`);
  }
}

async function makeProxy(issuer: Issuer, options: InitOptions): Promise<{ chain: string; key: string }> {
  const { chain, key } = await issueProxy({
    issuer,
    notAfter: new Date(Date.now() + options.hours * hour),
    kind: options.rsa === true ? 'rsa' : 'ec',
    limited: options.limited === true,
    ...(options.pathLength === undefined ? {} : { pathLength: options.pathLength }),
  });
  if (key === undefined) throw new GridError('internal', 'a proxy was made without a key');
  return { chain, key };
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new GridError('not-authenticated', `${file} cannot be read: ${(error as Error).message}`, { hint: 'name your certificate and key with --cert and --key, or X509_USER_CERT and X509_USER_KEY' });
  }
}

const types: Readonly<Record<ProxyKind, string>> = {
  proxy: 'RFC 3820 compliant impersonation proxy',
  limited: 'RFC 3820 compliant limited proxy',
  independent: 'RFC 3820 compliant independent proxy',
  'unknown-policy': 'RFC 3820 compliant restricted proxy',
  legacy: 'full legacy globus proxy',
  'end-entity': 'end entity credential',
};

/** The lines of grid-proxy-info, in its order. */
function infoText(found: ProxyDescription, file: string): string {
  return Object.entries(describe(found, file))
    .filter(([name]) => ['subject', 'issuer', 'identity', 'type', 'strength', 'path', 'timeleft'].includes(name))
    .map(([name, value]) => `${name.padEnd(9)}: ${String(value)}`)
    .join('\n');
}

function describe(found: ProxyDescription, file: string): Readonly<Record<string, string | number>> {
  return {
    subject: found.subject,
    issuer: found.issuer,
    identity: found.identity,
    type: types[found.kind],
    strength: `${found.strength} bits${found.algorithm === 'RSA' ? '' : ` (${found.algorithm})`}`,
    path: file,
    timeleft: clock(found.secondsLeft * 1000),
    secondsLeft: found.secondsLeft,
    notAfter: found.notAfter.toISOString(),
  };
}

function isProxy(file: string): boolean {
  try {
    return proxyInfo(readFileSync(file, 'latin1')).kind !== 'end-entity';
  } catch {
    return false;
  }
}
