/** What `demo --xen` has in place of two sites of containers: two real dom0s, and one site whose head has them as its hosts. */
import { withHead } from '../head-admin.js';
import type { GridLayout } from '../grid/layout.js';
import type { Releases } from '../releases.js';
import { raiseBed, type XenBed } from '../xen-bed/bed.js';
import { registrations } from '../xen-bed/hosts.js';

export const xenSites = ['xen'] as const;

/** Two dom0s up; their end is registered. @param home the demo's state directory */
export async function raiseDom0s(options: { home: string; say: (line: string) => void; signal: AbortSignal; releases: Releases }): Promise<XenBed> {
  options.say('starting two machines with the Xen hypervisor (the first time, their drive is made: a minute or two)');
  const bed = await raiseBed(options);
  options.releases.add(() => bed.stop());
  return bed;
}

/** The embedded grid's own host runs containers: it gets no nodes; the dom0s do. Repeatable. */
export async function registerDom0s(layout: GridLayout, bed: XenBed, say: (line: string) => void): Promise<void> {
  for (const { config, site } of layout.sites) {
    await withHead({ head: config }, async (head) => {
      await head.call('setHostState', { name: `${site}-host1`, state: 'draining' });
      for (const host of registrations(bed)) {
        const { host: found } = await head.call('addHost', { host }, { seconds: 150 });
        say(`host ${found.name} of site ${site}: ${found.about}, ${found.memory} MiB for nodes${found.problems.map((problem) => `; ${problem}`).join('')}`);
      }
    });
  }
}
