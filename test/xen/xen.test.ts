/**
 * gridvc on the real Xen hypervisor: two dom0s on emulated machines, hosts of one site's head. `npm run test:xen`; 25 minutes
 * are the aim where there is no hardware virtualization and two cores are idle.
 */
import { existsSync } from 'node:fs';
import t from 'tap';
import { whyNoGrid } from '../support/grid.js';
import { clusterTests } from './cluster.js';
import { contractTests } from './contract.js';
import { faultTests } from './faults.js';
import { raiseWorld } from './world.js';

const why = whyNoGrid() ?? (existsSync('/usr/bin/qemu-system-x86_64') ? undefined : 'qemu-system-x86 is not installed');
if (why !== undefined) t.test('real Xen', { skip: why }, async () => {});
else {
  t.setTimeout(2_600_000); // an emulated machine on a loaded one
  const world = await raiseWorld((line) => t.comment(line));
  t.teardown(() => world.close());
  const parts = { cluster: clusterTests, contract: contractTests, faults: faultTests } as const;
  // node dist/test/xen/xen.test.js faults: only that part
  const wanted = process.argv.slice(2);
  for (const [name, part] of Object.entries(parts)) if (wanted.length === 0 || wanted.includes(name)) await t.test(name, (t) => part(t, world));
}
