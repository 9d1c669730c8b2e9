/** The RSL variables that every job has, as the original defines them; a request's own of the same name win. */
import type { Caller } from '../../src/domain/views.js';
import type { Contacts } from './contact.js';
import { pathOf } from './job-records.js';

export function rslVariables(job: { readonly id: string; readonly secret: string; readonly caller: Pick<Caller, 'subject'> }, contacts: Contacts): ReadonlyMap<string, string> {
  const contact = contacts.of(pathOf(job));
  const [, host = '', port = ''] = /^https:\/\/(.*):(\d+)\//.exec(contact) ?? [];
  const directory = `/home/grid/.gridvc/${job.id}`;
  return new Map([
    ['HOME', '/home/grid'],
    ['LOGNAME', 'grid'],
    ['GLOBUS_ID', job.caller.subject],
    ['GLOBUS_LOCATION', '/usr'],
    ['GLOBUS_GRAM_JOB_CONTACT', contact],
    ['GLOBUS_GRAM_JOB_ID', job.id],
    ['GLOBUS_GATEKEEPER_HOST', host],
    ['GLOBUS_GATEKEEPER_PORT', port],
    ['GLOBUS_GATEKEEPER_SUBJECT', /\/:(\/.*)$/.exec(contact)?.[1] ?? ''],
    ['GLOBUS_HOST_MANUFACTURER', 'pc'],
    ['GLOBUS_HOST_CPUTYPE', 'x86_64'],
    ['GLOBUS_HOST_OSNAME', 'Linux'],
    ['GLOBUS_HOST_OSVERSION', '6.1'],
    ['GLOBUS_CACHED_STDOUT', `${directory}/out`],
    ['GLOBUS_CACHED_STDERR', `${directory}/err`],
    ['SCRATCH_DIRECTORY', `${directory}/scratch`],
  ]);
}
