/** A part as a gatekeeper would ask a head for it, without an overlay that anyone joins. */
import type { PartSpec } from '../../src/domain/node.js';
import { makeSshKey } from '../../src/pki/ssh-key.js';

export function partSpec(cluster: string, nodes: number, packages: readonly string[], more: Partial<PartSpec> = {}): PartSpec {
  const { private: hostKey, public: hostKeyPublic } = makeSshKey('test');
  return {
    cluster, owner: '/O=Grid/CN=Alice', memory: 128, disk: 400, vcpus: 1, os: 'bookworm', packages, bundles: [], expires: Date.now() + 600_000, minCount: nodes,
    nodes: Array.from({ length: nodes }, (_, n) => ({ name: `n${n + 1}`, overlayAddress: `10.128.0.${10 + n}`, certificate: 'none', key: 'none', hostKey, hostKeyPublic })),
    overlay: { hubHost: '198.18.0.1', hubPort: 21999, ca: 'none', hubName: 'hub', netmask: '255.255.240.0' },
    hosts: '127.0.0.1 localhost\n', hostfile: 'n1 slots=1\n', knownHosts: '', authorizedKeys: [hostKeyPublic], clusterKey: hostKey, clusterKeyPublic: hostKeyPublic, files: [], ...more,
  };
}
