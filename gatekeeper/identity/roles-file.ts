/** Roles: `"DN" role[,role]` or `"/vo/group/Role=x" role[,role]`, one a line. A broken line is logged and gives nobody a role. */
import type { Log } from '../../src/log.js';
import { roles, type Role } from '../../src/domain/views.js';
import { LineError, readDnLine } from './dn-line.js';
import { NameLines, type NameLine } from './name-lines.js';
import { namePattern } from './name-pattern.js';

export type RoleMap = NameLines<readonly Role[]>;

/** Parses the file; several lines for a name add up. */
export function readRoles(text: string, file: string, log: Log): RoleMap {
  const lines: NameLine<readonly Role[]>[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    try {
      const entry = readDnLine(line);
      if (entry) lines.push({ line: index + 1, pattern: namePattern(entry.dn, false), value: entry.rest.split(',').map(readRole) });
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      log.warn({ file, line: index + 1, error: error.message }, 'a line of the roles file is broken and gives no role');
    }
  }
  return new NameLines(lines);
}

/** One role by name. LineError with the allowed ones. */
export function readRole(text: string): Role {
  const role = roles.find((each) => each === text.trim());
  if (!role) throw new LineError(`${JSON.stringify(text.slice(0, 40))} is not a role; allowed: ${roles.join(', ')}`);
  return role;
}

/** The lines that give a subject (Globus DN) with these FQANs a role. */
export function roleLines(map: RoleMap, subject: string, fqans: readonly string[] = []): readonly NameLine<readonly Role[]>[] {
  return [...map.ofDn(subject), ...fqans.flatMap((fqan) => map.ofFqan(fqan))];
}

/** The roles themselves, each once. */
export function rolesOf(map: RoleMap, subject: string, fqans: readonly string[] = []): readonly Role[] {
  return [...new Set(roleLines(map, subject, fqans).flatMap(({ value }) => value))];
}
