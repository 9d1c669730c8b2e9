/** The user's own ssh key for nodes, made once in the user's gridvc directory (0600), and that directory's known hosts. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GridError } from '../domain/error.js';
import { isName } from '../domain/names.js';
import { makeSshKey } from '../pki/ssh-key.js';
import { writeWhole } from './files.js';
import { thisEnvironment, userDirectory } from './settings.js';

export interface UserKey {
  /** Path of the private key. */
  readonly file: string;
  readonly privateKey: string;
  /** One authorized_keys line. */
  readonly publicLine: string;
}

/** Reads the key, or makes it (ed25519). */
export function userKey(directory = userDirectory(thisEnvironment())): UserKey {
  const file = join(directory, 'id_ed25519');
  if (!existsSync(file) || !existsSync(`${file}.pub`)) {
    const made = makeSshKey('gridvc');
    writeWhole(`${file}.pub`, `${made.public}\n`, 0o644);
    writeWhole(file, made.private);
  }
  return { file, privateKey: readFileSync(file, 'utf8'), publicLine: readFileSync(`${file}.pub`, 'utf8').trim() };
}

/** Public key files of --ssh-key, checked. */
export function readPublicKeys(files: readonly string[]): string[] {
  return files.flatMap((file) => {
    const lines = readFileSync(file, 'utf8').split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
    const bad = lines.find((line) => !isName('sshKey', line));
    if (bad !== undefined || lines.length === 0) throw new GridError('bad-request', `${file} is not an OpenSSH public key`, { hint: 'give the .pub file; options before the key type are not taken' });
    return lines;
  });
}

/** Writes the cluster's host keys where OpenSSH reads them. @returns the path */
export function writeKnownHosts(cluster: string, text: string, directory = userDirectory(thisEnvironment())): string {
  const file = join(directory, 'known_hosts', cluster);
  writeWhole(file, text);
  return file;
}
