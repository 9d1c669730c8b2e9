/** A node as a head gets it, and as a hypervisor driver gets it. */
import type { RequestFile } from './request.js';

/** Everything about one node that is decided before it boots, by the gatekeeper. */
export interface NodeSpec {
  /** n1, n2, ...: unique in the cluster, also its host name. */
  readonly name: string;
  readonly overlayAddress: string;
  /** PEM; subject = owner's DN + CN=<cluster> + CN=<node>.<cluster>. */
  readonly certificate: string;
  /** PEM (PKCS#8, EC P-256). */
  readonly key: string;
  /** OpenSSH private host key (ed25519) and its public line. */
  readonly hostKey: string;
  readonly hostKeyPublic: string;
}

/** What a head is asked to bring up: its share of one cluster. */
export interface PartSpec {
  readonly cluster: string;
  readonly owner: string;
  readonly memory: number;
  readonly disk: number;
  readonly vcpus: number;
  readonly os: string;
  readonly packages: readonly string[];
  readonly bundles: readonly string[];
  /** No image with packages beyond what was asked. */
  readonly exact?: boolean;
  /** Unix ms; the head tears the part down by itself then, should the gatekeeper be gone. */
  readonly expires: number;
  readonly minCount: number;
  readonly nodes: readonly NodeSpec[];
  readonly overlay: OverlaySpec;
  /** Text of /etc/hosts, the MPI hostfile and ssh_known_hosts: the same on every node. */
  readonly hosts: string;
  readonly hostfile: string;
  readonly knownHosts: string;
  /** Lines for authorized_keys of the login user and root. */
  readonly authorizedKeys: readonly string[];
  /** Key by which the nodes of one cluster log in to each other (mpirun). */
  readonly clusterKey: string;
  readonly clusterKeyPublic: string;
  /** Inline only: the gatekeeper has put uploads in. */
  readonly files: readonly RequestFile[];
}

/** Where the hub is and how to trust it. */
export interface OverlaySpec {
  readonly hubHost: string;
  readonly hubPort: number;
  readonly ca: string;
  /** Name in the hub's certificate that the client insists on. */
  readonly hubName: string;
  /** "255.255.240.0" */
  readonly netmask: string;
}

/** One file or directory of a node's private writable layer, written before it boots. */
export interface ContextFile {
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly content: Uint8Array;
}

/** A node as a driver sees it: typed data only, every name checked by src/domain/names.ts. */
export interface NodeDefinition {
  readonly id: NodeId;
  readonly memory: number;
  readonly disk: number;
  readonly vcpus: number;
  /** Digests, lowest first; present on the host (Distributor). */
  readonly layers: readonly string[];
  /** Digest of the kernel layer, on the host as well; only for drivers that boot one. */
  readonly kernel?: string;
  readonly network: NodeNetwork;
  readonly context: readonly ContextFile[];
}

/** Cluster and node name; together unique on a host. */
export interface NodeId {
  readonly cluster: string;
  readonly node: string;
}

export interface NodeNetwork {
  /** "192.168.77.12/24" */
  readonly address: string;
  readonly gateway: string;
}

export interface NodeStatus {
  readonly id: NodeId;
  readonly state: 'defined' | 'running' | 'stopped';
}
