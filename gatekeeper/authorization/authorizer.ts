/**
 * Rules and quotas from their files, read again when they change, asked with every request. The decisions are made in
 * rules.ts and quotas.ts; here they become refusals that say which line decided and what would help.
 */
import { join } from 'node:path';
import { GridError } from '../../src/domain/error.js';
import type { Caller } from '../../src/domain/views.js';
import type { Log } from '../../src/log.js';
import { WatchedFile } from '../identity/names-file.js';
import type { Operation } from './operations.js';
import { excess, noQuotas, quotasOf, readQuotas, type Holding, type Most, type Quota, type Quotas } from './quotas.js';
import { decide, readRules, rolesThatWouldDo, type Rule } from './rules.js';

/** Holds where the configuration names no rules. */
export const defaultRules = join(import.meta.dirname, '../../../gatekeeper/authorization/default.rules');

export interface AuthorizerFiles {
  readonly rules?: string | undefined;
  readonly quotas?: string | undefined;
}

export class Authorizer {
  readonly #rules: WatchedFile<readonly Rule[]>;
  readonly #quotas: WatchedFile<Quotas> | undefined;

  constructor(files: AuthorizerFiles, log: Log) {
    this.#rules = new WatchedFile(files.rules ?? defaultRules, readRules, log);
    this.#quotas = files.quotas === undefined ? undefined : new WatchedFile(files.quotas, readQuotas, log);
  }

  /** True if the rules permit it. Throws `unavailable` if the file is broken. */
  may(caller: Caller, operation: Operation): boolean {
    return decide(this.#rules.current(), caller, operation).permitted;
  }

  /** Throws not-authorized naming the rule, or `unavailable` if the file is broken. */
  check(caller: Caller, operation: Operation): void {
    const rules = this.#rules.current();
    const { permitted, rule } = decide(rules, caller, operation);
    if (permitted) return;
    throw rule ? this.#denied(caller, operation, rule) : this.#notPermitted(caller, operation, rules);
  }

  /** Throws `quota` with asked, used and allowed if a person or their VO would hold too much. */
  checkQuota(caller: Caller, limits: Most, asked: Holding, used: { readonly owner: Holding; readonly vo: Holding }): void {
    const { owner, vo } = quotasOf(this.#quotas?.current() ?? noQuotas, this.#quotas?.path ?? '', limits, caller);
    this.#refuse(excess(owner, used.owner, asked), owner);
    if (vo) this.#refuse(excess(vo, used.vo, asked), vo);
  }

  #refuse(why: string | undefined, quota: Quota): void {
    if (why !== undefined) throw new GridError('quota', why, { hint: quota.whose.startsWith('/') ? 'destroy a cluster first (gridvc destroy)' : `other members of ${quota.whose} must destroy clusters first, or come with another FQAN` });
  }

  #denied(caller: Caller, operation: Operation, rule: Rule): GridError {
    const where = `(${this.#rules.path}:${rule.line})`;
    if (rule.conditions.some(({ kind }) => kind === 'limited')) {
      return new GridError('not-authorized', `a limited proxy may not ${operation} ${where}`, { hint: 'make a full proxy: gridvc proxy init' });
    }
    return new GridError('not-authorized', `${caller.subject} may not ${operation}: a rule of this grid denies it ${where}`, { hint: 'ask the administrator of this grid' });
  }

  #notPermitted(caller: Caller, operation: Operation, rules: readonly Rule[]): GridError {
    const roles = rolesThatWouldDo(rules, caller, operation);
    const because = roles.includes('user') ? 'it has no account here' : roles.length > 0 ? `it is neither ${roles.join(' nor ')}` : 'no rule permits it';
    const hint = roles.includes('user') ? 'ask the administrator of this grid for a line in the grid-mapfile' : roles.length > 0 ? 'a grid administrator can add the role to the roles file of the gatekeeper' : 'ask the administrator of this grid';
    return new GridError('not-authorized', `${caller.subject} may not ${operation}: ${because} (${this.#rules.path})`, { hint });
  }
}
