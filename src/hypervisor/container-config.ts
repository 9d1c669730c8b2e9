/** The OCI runtime configuration of a container node. Pure. */
import type { NodeDefinition } from '../domain/node.js';
import { initPath } from '../node/init.js';

/** Docker's default set, and NET_ADMIN for the node's own tun device and routes. */
const capabilities = ['CHOWN', 'DAC_OVERRIDE', 'FSETID', 'FOWNER', 'MKNOD', 'NET_RAW', 'SETGID', 'SETUID', 'SETFCAP', 'SETPCAP', 'NET_BIND_SERVICE', 'SYS_CHROOT', 'KILL', 'AUDIT_WRITE', 'NET_ADMIN'].map((name) => `CAP_${name}`);

const refusedCalls = [
  'kexec_load', 'kexec_file_load', 'init_module', 'finit_module', 'delete_module', 'create_module', 'bpf', 'perf_event_open', 'reboot', 'keyctl', 'add_key', 'request_key', 'acct', 'swapon', 'swapoff',
  'settimeofday', 'clock_settime', 'stime', 'open_by_handle_at', 'name_to_handle_at', 'lookup_dcookie', 'userfaultfd', 'quotactl', 'quotactl_fd', 'nfsservctl', 'iopl', 'ioperm', 'setns', 'fsopen', 'fsmount',
  'fsconfig', 'fspick', 'move_mount', 'open_tree', 'mount_setattr', 'io_uring_setup', 'io_uring_enter', 'io_uring_register', 'uselib', 'ustat', 'sysfs', '_sysctl', 'vhangup', 'syslog',
];

const newUserNamespace = { index: 0, value: 0x10000000, valueTwo: 0x10000000, op: 'SCMP_CMP_MASKED_EQ' };

const seccomp = {
  defaultAction: 'SCMP_ACT_ALLOW',
  architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32', 'SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
  syscalls: [
    { names: refusedCalls, action: 'SCMP_ACT_ERRNO', errnoRet: 1 },
    // A user namespace would hand out the capabilities that the node must not have.
    { names: ['unshare', 'clone'], action: 'SCMP_ACT_ERRNO', errnoRet: 1, args: [newUserNamespace] },
    // Its flags cannot be seen by the filter; ENOSYS makes libc use clone.
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 },
  ],
};

const maskedPaths = ['/proc/acpi', '/proc/asound', '/proc/kcore', '/proc/keys', '/proc/latency_stats', '/proc/timer_list', '/proc/timer_stats', '/proc/sched_debug', '/proc/scsi', '/sys/firmware', '/sys/fs/cgroup', '/sys/kernel/debug'];
const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

const processes = 4096;
const cpuPeriod = 100_000;

const mounts = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=1m'] },
  { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'] },
  { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'nodev', 'mode=1777'] },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  { destination: '/run', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'mode=755', 'size=32m'] },
  { destination: '/run/lock', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'noexec', 'mode=1777', 'size=5m'] },
];

/**
 * @param node what is to run
 * @param place id of the container, path of its root, name of its network namespace, on the host
 */
export function containerConfig(node: NodeDefinition, place: { id: string; root: string; netns: string }): object {
  return {
    ociVersion: '1.0.2',
    hostname: node.id.node,
    root: { path: place.root, readonly: false },
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      cwd: '/',
      args: [initPath],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=linux', 'container=gridvc'],
      // No rlimits: they would need CAP_SYS_RESOURCE on the host.
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: false, // sudo
    },
    mounts,
    linux: {
      cgroupsPath: `/gridvc/${place.id}`,
      namespaces: [{ type: 'pid' }, { type: 'ipc' }, { type: 'uts' }, { type: 'mount' }, { type: 'network', path: `/run/netns/${place.netns}` }],
      devices: [{ path: '/dev/net/tun', type: 'c', major: 10, minor: 200, fileMode: 0o666, uid: 0, gid: 0 }],
      resources: {
        devices: [{ allow: false, access: 'rwm' }, { allow: true, type: 'c', major: 10, minor: 200, access: 'rwm' }],
        memory: { limit: node.memory * 1024 * 1024 },
        cpu: { quota: node.vcpus * cpuPeriod, period: cpuPeriod },
        pids: { limit: processes },
      },
      seccomp,
      maskedPaths,
      readonlyPaths,
    },
  };
}
