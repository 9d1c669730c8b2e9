/** Whether a valid identity is let in, as whom and with which roles: pure, a function of names and of the three files. */
import type { Role } from '../../src/domain/views.js';
import { findBan, type Ban, type Bans } from './ban-file.js';
import { mapName, type GridMap, type Mapped } from './grid-mapfile.js';
import { roleLines, type RoleMap } from './roles-file.js';

export interface NameFiles {
  readonly map: GridMap;
  readonly bans?: Bans | undefined;
  readonly roles?: RoleMap | undefined;
}

/** The names that an identity speaks under. */
export interface Speaker {
  readonly subject: string;
  /** Verified FQANs, primary first. */
  readonly fqans: readonly string[];
  /** Every DN of the chain: proxies, end entity, authorities. */
  readonly names: readonly string[];
  readonly authorities: readonly string[];
}

export interface Admission {
  readonly ban?: Ban;
  readonly mapped?: Mapped;
  readonly roles: readonly Role[];
  /** Lines of the roles file that counted. */
  readonly roleLines: readonly number[];
}

export function admit(files: NameFiles, speaker: Speaker): Admission {
  const { subject, fqans } = speaker;
  const ban = files.bans && findBan(files.bans, speaker);
  const mapped = mapName(files.map, subject, fqans);
  const lines = files.roles ? roleLines(files.roles, subject, fqans) : [];
  const roles = new Set<Role>([...(mapped ? (['user'] as const) : []), ...lines.flatMap(({ value }) => value)]);
  return { ...(ban ? { ban } : {}), ...(mapped ? { mapped } : {}), roles: [...roles], roleLines: lines.map(({ line }) => line) };
}

/** Known here: by an account or a role. */
export function isKnown({ mapped, roles }: Admission): boolean {
  return mapped !== undefined || roles.length > 0;
}
