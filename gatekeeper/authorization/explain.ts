/** What the gatekeeper's files say of somebody, step by step, each with the line that decided: for `gridvc authz explain`. */
import type { Log } from '../../src/log.js';
import { admit, isKnown } from '../identity/admission.js';
import { watchNameFiles } from '../identity/name-files.js';
import { voOf } from '../identity/name-pattern.js';
import { WatchedFile } from '../identity/names-file.js';
import type { GatekeeperConfig } from '../config.js';
import { defaultRules } from './authorizer.js';
import type { Operation } from './operations.js';
import { noQuotas, quotasOf, readQuotas, type Quota } from './quotas.js';
import { decide, readRules } from './rules.js';

export interface Question {
  readonly subject: string;
  readonly issuer: string;
  /** Primary first. */
  readonly fqans: readonly string[];
  readonly limited: boolean;
  readonly operation: Operation;
}

export interface Step {
  readonly step: 'bans' | 'map' | 'roles' | 'rules' | 'quota';
  readonly verdict: string;
  /** "FILE:LINE", or "FILE" where no line of it fits; "" without a file. */
  readonly by: string;
  /** The line's text or pattern, "" without one. */
  readonly text: string;
}

export interface Explanation {
  readonly permitted: boolean;
  /** The step that decided: the first that refused, else the rule. */
  readonly decided: Step;
  readonly steps: readonly Step[];
}

type Settings = Pick<GatekeeperConfig, 'gridmap' | 'bans' | 'roles' | 'rules' | 'quotas'> & { readonly limits: Pick<GatekeeperConfig['limits'], 'clustersPerOwner' | 'nodesPerOwner' | 'memoryPerOwner'> };

/** Reads the files as a gatekeeper does; `unavailable` naming one that it could not use either. */
export function explain(config: Settings, question: Question, log: Log): Explanation {
  const { subject, issuer, fqans, operation } = question;
  const authorities = issuer === '' ? [] : [issuer];
  const { ban, mapped, roles, roleLines } = admit(watchNameFiles(config, log)(), { subject, fqans, names: [subject, ...authorities], authorities });
  const rulesFile = config.rules ?? defaultRules;
  const { permitted, rule } = decide(new WatchedFile(rulesFile, readRules, log).current(), { ...question, vo: voOf(fqans), roles }, operation);
  const known = isKnown({ ...(mapped ? { mapped } : {}), roles, roleLines });

  const bans: Step = ban ? { step: 'bans', verdict: `${ban.name} is banned`, by: `${config.bans}:${ban.line}`, text: '' } : { step: 'bans', verdict: 'not banned', by: config.bans ?? '', text: '' };
  const map: Step = mapped ? { step: 'map', verdict: `account ${mapped.account}`, by: `${config.gridmap}:${mapped.line}`, text: mapped.by } : { step: 'map', verdict: known ? 'no account' : 'no account and no role: not let in', by: config.gridmap, text: '' };
  const role: Step = { step: 'roles', verdict: roles.join(', ') || 'none', by: roleLines.length > 0 ? roleLines.map((line) => `${config.roles}:${line}`).join(', ') : (config.roles ?? ''), text: '' };
  const rules: Step = rule ? { step: 'rules', verdict: rule.effect === 'permit' ? 'permitted' : 'denied', by: `${rulesFile}:${rule.line}`, text: rule.text } : { step: 'rules', verdict: 'denied, since no rule fits', by: rulesFile, text: '' };
  const decided = ban ? bans : known ? rules : map;
  const quotas = operation === 'createCluster' ? quotaSteps(config, question, log) : [];
  return { permitted: decided === rules && permitted, decided, steps: [bans, map, role, rules, ...quotas] };
}

function quotaSteps(config: Settings, { subject, fqans }: Question, log: Log): Step[] {
  const { clustersPerOwner, nodesPerOwner, memoryPerOwner } = config.limits;
  const quotas = config.quotas === undefined ? noQuotas : new WatchedFile(config.quotas, readQuotas, log).current();
  const limits = { clusters: clustersPerOwner, nodes: nodesPerOwner, ...(memoryPerOwner === undefined ? {} : { memory: memoryPerOwner }) };
  const { owner, vo } = quotasOf(quotas, config.quotas ?? '', limits, { subject, fqans, vo: voOf(fqans) });
  return (vo ? [owner, vo] : [owner]).map((quota: Quota) => ({
    step: 'quota',
    verdict: Object.entries(quota.most).map(([name, most]) => `${name} ${most}${name === 'memory' ? ' MiB' : ''}`).join(', '),
    by: quota.where,
    text: quota.whose,
  }));
}
