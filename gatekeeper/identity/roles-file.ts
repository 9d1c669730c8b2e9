/** Roles: `"DN" role[,role]`, one a line. A broken line is logged and gives nobody a role. */
import type { Log } from '../../src/log.js';
import { roles, type Role } from '../../src/domain/views.js';
import { comparableDn } from '../../src/pki/dn.js';
import { LineError, readDnLine } from './dn-line.js';
import { lookupForms } from './names-file.js';

export type RoleMap = ReadonlyMap<string, readonly Role[]>;

/** Parses the file; several lines for a DN add up. */
export function readRoles(text: string, file: string, log: Log): RoleMap {
  const map = new Map<string, readonly Role[]>();
  for (const [index, line] of text.split('\n').entries()) {
    try {
      const entry = readDnLine(line);
      if (!entry) continue;
      const key = comparableDn(entry.dn);
      map.set(key, [...new Set([...(map.get(key) ?? []), ...entry.rest.split(',').map(readRole)])]);
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      log.warn({ file, line: index + 1, error: error.message }, 'a line of the roles file is broken and gives no role');
    }
  }
  return map;
}

function readRole(text: string): Role {
  const role = roles.find((each) => each === text.trim());
  if (!role) throw new LineError(`${JSON.stringify(text.slice(0, 40))} is not a role; allowed: ${roles.join(', ')}`);
  return role;
}

/** The roles that the file gives a subject (Globus DN). */
export function rolesOf(map: RoleMap, subject: string): readonly Role[] {
  return [...new Set(lookupForms(subject).flatMap((form) => map.get(form) ?? []))];
}
