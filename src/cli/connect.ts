/** A signed-in connection to a gatekeeper: its SOAP client, and the same TLS identity for uploads and tunnels. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { GridError } from '../domain/error.js';
import type { ClusterClient } from '../soap/client.js';
import { embeddedGrid, findCredential, findGatekeeper, findTrust, thisEnvironment, type Credential, type Environment } from './settings.js';

/** PEM texts. */
export interface TlsIdentity {
  readonly cert: string;
  readonly key: string;
  readonly ca: readonly string[];
}

export interface Connection {
  readonly url: string;
  readonly client: ClusterClient;
  readonly tls: TlsIdentity;
}

export interface ConnectOptions {
  readonly gatekeeper?: string | undefined;
}

/** Finds gatekeeper, credential and trust (settings.ts) and makes the client. Nothing is sent yet. */
export async function connect(options: ConnectOptions, environment: Environment = thisEnvironment()): Promise<Connection> {
  const url = findGatekeeper(environment, options.gatekeeper);
  const grid = embeddedGrid(environment, options.gatekeeper);
  const tls = readIdentity(findCredential(environment, grid), findTrust(environment, grid));
  const { ClusterClient } = await import('../soap/client.js');
  return { url, tls, client: new ClusterClient({ url, tls }) };
}

/** Reads the files of a credential and the CAs of a trust directory. */
export function readIdentity(credential: Credential, trust: string): TlsIdentity {
  const certificate = readCredentialFile(credential.certificate, credential.from);
  const key = credential.kind === 'proxy' ? certificate : readCredentialFile(credential.key, credential.from);
  if (/BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/.test(key)) {
    throw new GridError('not-authenticated', `the key ${credential.key} is encrypted`, { hint: 'make a proxy first: gridvc proxy init' });
  }
  return { cert: blocks(certificate, /CERTIFICATE/), key: blocks(key, /PRIVATE KEY/), ca: readAuthorities(trust) };
}

function readCredentialFile(file: string, from: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new GridError('not-authenticated', `the credential ${file} (from ${from}) cannot be read: ${(error as Error).message}`, { hint: 'make a proxy: gridvc proxy init' });
  }
}

function blocks(pem: string, label: RegExp): string {
  const found = pem.match(/-----BEGIN ([A-Z0-9 ]+)-----[^]*?-----END \1-----\n?/g) ?? [];
  return found.filter((block) => label.test(block.split('\n', 1)[0] ?? '')).join('');
}

function readAuthorities(trust: string): string[] {
  try {
    const files = readdirSync(trust).filter((name) => /^[0-9a-f]{8}\.[0-9]+$/.test(name));
    if (files.length > 0) return files.map((name) => readFileSync(join(trust, name), 'utf8'));
  } catch (error) {
    throw new GridError('not-authenticated', `the trust directory ${trust} cannot be read: ${(error as Error).message}`, { hint: 'set X509_CERT_DIR to a directory with your CA certificates (HASH.0)' });
  }
  throw new GridError('not-authenticated', `the trust directory ${trust} has no CA certificate (HASH.0)`, { hint: 'make the hash names with: openssl rehash DIR' });
}
