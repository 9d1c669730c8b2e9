/** The contract of drivers (test/support/driver-contract.ts) over real domains, beside the grid: another owner on the same dom0. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { bedNetwork, domainBridge } from '../../src/cli/xen-bed/layout.js';
import { DirectDistributor } from '../../src/distribute/direct.js';
import type { PartSpec } from '../../src/domain/node.js';
import { XenDriver } from '../../src/hypervisor/xen.js';
import { nodeContext } from '../../src/node/context.js';
import { makeSshKey } from '../../src/pki/ssh-key.js';
import type { NodeTransport } from '../../src/ports.js';
import { runCommand } from '../../src/proc/command.js';
import { driverContract } from '../support/driver-contract.js';
import { testImage, testKernel, workshop, testCache } from '../support/layers.js';
import { holdings, hostHome, until, xenHome, type World } from './world.js';

const owner = 'contract-000000';

export async function contractTests(t: Test, { bed }: World): Promise<void> {
  const [dom0] = bed.dom0s;
  const { private: key, public: publicKey } = makeSshKey('contract');
  const keyFile = join(xenHome, 'contract-key');
  writeFileSync(keyFile, key);
  chmodSync(keyFile, 0o600);
  const known = join(xenHome, 'contract-known');
  writeFileSync(known, `* ${publicKey}\n`);
  const layers = await testImage([]);
  const kernel = await testKernel();
  const { store } = workshop(testCache);
  const distributor = new DirectDistributor({ source: (digest) => store.path(digest), home: () => hostHome });
  await distributor.distribute([...layers, kernel], [dom0.ssh]);
  t.same(await distributor.distribute([...layers, kernel], [dom0.ssh]), { bytes: 0 }, 'layers reach a host once');
  const driver = (transport: NodeTransport): XenDriver => new XenDriver({ transport, home: hostHome, network: { bridge: domainBridge }, owner });
  const at = (node: string): string => `198.19.77.${40 + Number(node.slice(1))}`;
  const part = (cluster: string): PartSpec => ({
    cluster, owner: '/O=Grid/CN=Test', memory: 144, disk: 600, vcpus: 1, os: 'bookworm', packages: [], bundles: [], expires: 0, minCount: 1, nodes: [],
    overlay: { hubHost: '', hubPort: 0, ca: '', hubName: '', netmask: '' },
    hosts: '127.0.0.1 localhost\n', hostfile: 'n1 slots=1\n', knownHosts: `* ${publicKey}\n`, authorizedKeys: [publicKey], clusterKey: key, clusterKeyPublic: publicKey, files: [],
  });
  await driverContract(t, {
    driver: driver(dom0.ssh),
    over: (wrap) => driver(wrap(dom0.ssh)),
    definition: (id, context = []) => ({
      id, memory: 144, disk: 600, vcpus: 1, layers: layers.map(({ digest }) => digest), kernel: kernel.digest,
      network: { address: `${at(id.node)}/${bedNetwork.prefix}`, gateway: bedNetwork.gateway },
      context: [...nodeContext(part(id.cluster), { name: id.node, overlayAddress: '', certificate: '', key: '', hostKey: key, hostKeyPublic: publicKey }, []), ...context],
    }),
    // an emulated machine needs a while until its sshd is there
    inNode: async (node, command) => {
      const words = ['ssh', '-i', keyFile, '-o', `UserKnownHostsFile=${known}`, '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=30', `grid@${at(node.id.node)}`, command];
      const answered = await until(180, async () => {
        const result = await runCommand(words, { seconds: 120 });
        return result.code === 255 ? undefined : result;
      });
      return answered ?? runCommand(words, { seconds: 120 });
    },
    traces: () => holdings(dom0),
    cuts: [400, 3000], // before and in the middle of xl create
    many: 2,
  });
}
