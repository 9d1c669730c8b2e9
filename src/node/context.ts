/**
 * The files that make one node of many equal ones itself: name, keys, hosts, MPI settings. Pure:
 * a driver writes them into the node's private layer before it boots. A path that ends in "/" is a
 * directory. The overlay's own files (/etc/openvpn/gridvc.conf ...) come from src/overlay as `extra`.
 */
import { GridError } from '../domain/error.js';
import { checkName } from '../domain/names.js';
import type { ContextFile, NodeSpec, PartSpec } from '../domain/node.js';

export const gridUser = { name: 'grid', uid: 1000, gid: 1000, home: '/home/grid' } as const;

const sshdConfig = `# gridvc
HostKey /etc/ssh/ssh_host_ed25519_key
UseDNS no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
PrintLastLog no
MaxStartups 200:30:400
MaxSessions 100
`;

const sshConfig = `# gridvc: the nodes of a cluster know each other
Host n? n?? n??? n???? n????? *.gridvc 10.*
    GlobalKnownHostsFile /etc/ssh/ssh_known_hosts
    StrictHostKeyChecking yes
    BatchMode yes
    GSSAPIAuthentication no
`;

/** mpirun needs no option: the overlay only, all nodes, plain ssh, no ptrace-like copies between processes. */
const mpiParameters = `btl_tcp_if_include = tun0
oob_tcp_if_include = tun0
btl_vader_single_copy_mechanism = none
btl = tcp,vader,self
orte_default_hostfile = /etc/gridvc/hostfile
plm_rsh_agent = ssh
plm_rsh_no_tree_spawn = 1
orte_base_help_aggregate = 1
hwloc_base_binding_policy = none
rmaps_base_mapping_policy = slot
`;

/**
 * @param part what all nodes of the part share
 * @param node one of `part.nodes`
 * @param extra the overlay's files for this node
 * @returns files in the order in which they are to be written; user files last, so that they win
 */
export function nodeContext(part: PartSpec, node: NodeSpec, extra: readonly ContextFile[]): ContextFile[] {
  const hosts = part.hosts.includes('localhost') ? part.hosts : `127.0.0.1 localhost\n::1 localhost ip6-localhost\n${part.hosts}`;
  return [
    file('/etc/hostname', `${checkName('node', node.name)}\n`),
    file('/etc/hosts', withNewline(hosts)),
    file('/etc/resolv.conf', '# names come from /etc/hosts\n'),
    file('/etc/ssh/ssh_host_ed25519_key', withNewline(node.hostKey), 0o600),
    file('/etc/ssh/ssh_host_ed25519_key.pub', withNewline(node.hostKeyPublic)),
    file('/etc/ssh/sshd_config.d/gridvc.conf', sshdConfig),
    file('/etc/ssh/ssh_config.d/gridvc.conf', sshConfig),
    file('/etc/ssh/ssh_known_hosts', withNewline(part.knownHosts)),
    file('/etc/gridvc/hostfile', withNewline(part.hostfile)),
    file('/etc/gridvc/cluster', `${checkName('cluster', part.cluster)}\n`),
    ...account(part, '/root', 0, 0),
    ...account(part, gridUser.home, gridUser.uid, gridUser.gid),
    ...extra,
    ...part.files.map(userFile),
  ];
}

function account(part: PartSpec, home: string, uid: number, gid: number): ContextFile[] {
  const keys = [...new Set([...part.authorizedKeys, part.clusterKeyPublic.trim()])].filter((line) => line !== '');
  const own = (path: string, text: string, mode: number): ContextFile => ({ ...file(`${home}/${path}`, text, mode), uid, gid });
  return [
    own('.ssh/', '', 0o700),
    own('.ssh/authorized_keys', `${keys.join('\n')}\n`, 0o600),
    own('.ssh/id_ed25519', withNewline(part.clusterKey), 0o600),
    own('.ssh/id_ed25519.pub', withNewline(part.clusterKeyPublic), 0o644),
    own('.openmpi/', '', 0o755),
    own('.openmpi/mca-params.conf', mpiParameters, 0o644),
  ];
}

/** The user's own files belong to the login user below its home, to root elsewhere. */
function userFile(wanted: PartSpec['files'][number]): ContextFile {
  if (wanted.source.kind !== 'inline') throw new GridError('internal', `the upload for ${wanted.path} was not put into the part`);
  const theirs = wanted.path.startsWith(`${gridUser.home}/`);
  return {
    path: checkName('path', wanted.path),
    mode: wanted.mode & 0o7777,
    uid: theirs ? gridUser.uid : 0,
    gid: theirs ? gridUser.gid : 0,
    content: Buffer.from(wanted.source.base64, 'base64'),
  };
}

function file(path: string, text: string, mode = 0o644): ContextFile {
  return { path, mode, uid: 0, gid: 0, content: Buffer.from(text, 'utf8') };
}

function withNewline(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}
