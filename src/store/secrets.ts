/**
 * Secret material (node keys, certificates) as JSON files of mode 0600 in one directory of mode 0700:
 * written beside, fsynced, renamed, so that a file that exists is whole. Rows in Postgres point here.
 */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { GridError } from '../domain/error.js';
import { checkName } from '../domain/names.js';

export interface SecretFiles<T> {
  /** Replaces what was there. */
  write(cluster: string, value: T): Promise<void>;
  /** Undefined if there is none. */
  read(cluster: string): Promise<T | undefined>;
  /** Repeatable. */
  remove(cluster: string): Promise<void>;
}

/** @param directory made if missing */
export async function openSecrets<T>(directory: string): Promise<SecretFiles<T>> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = (cluster: string): string => join(directory, `${checkName('cluster', cluster)}.json`);
  return {
    async write(cluster, value) {
      const target = path(cluster);
      const file = await open(`${target}.new`, 'w', 0o600);
      try {
        await file.writeFile(JSON.stringify(value));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(`${target}.new`, target);
    },
    async read(cluster) {
      try {
        return JSON.parse(await readFile(path(cluster), 'utf8')) as T;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw new GridError('internal', `cannot read ${path(cluster)}: ${(error as Error).message}`, { cause: error });
      }
    },
    remove: (cluster) => rm(path(cluster), { force: true }),
  };
}
