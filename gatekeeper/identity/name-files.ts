/** The three files that say who is known: grid-mapfile, bans, roles; each read again when it changes. */
import type { Log } from '../../src/log.js';
import type { NameFiles } from './admission.js';
import { readBans } from './ban-file.js';
import { readGridMap } from './grid-mapfile.js';
import { WatchedFile } from './names-file.js';
import { readRoles } from './roles-file.js';

export interface NameFilePaths {
  readonly gridmap: string;
  readonly bans?: string | undefined;
  readonly roles?: string | undefined;
}

/** @returns what gives the files as they are now; it throws `unavailable` naming one that cannot be used */
export function watchNameFiles({ gridmap, bans, roles }: NameFilePaths, log: Log): () => NameFiles {
  const map = new WatchedFile(gridmap, (text) => readGridMap(text, gridmap, log), log);
  const banned = bans === undefined ? undefined : new WatchedFile(bans, readBans, log);
  const given = roles === undefined ? undefined : new WatchedFile(roles, (text) => readRoles(text, roles, log), log);
  return () => ({ map: map.current(), bans: banned?.current(), roles: given?.current() });
}
