/** Which modules of a Debian kernel a node gets, and in which order its initial RAM disk loads the first of them. Pure. */
import { GridError } from '../domain/error.js';

/** Loaded before the root is there. What a kernel has built in is not in its list of modules and is left out. */
export const bootModules = ['xen-blkfront', 'xen-netfront', 'crc32c_generic', 'crc32c-intel', 'squashfs', 'overlay', 'ext4', 'tun', 'loop'] as const;

/** Without these no node comes up; the others may be built in under another name or be missing. */
const needed = ['xen-blkfront', 'xen-netfront', 'squashfs', 'overlay', 'ext4', 'tun'];

/**
 * Paths below the kernel's directory that go into the layer: what a machine without devices of its own can use.
 * The rest (graphics, sound, network cards ...) is three quarters of the whole.
 */
export const keptModules = [
  'arch', 'block', 'crypto', 'fs', 'lib', 'mm', 'net', 'virt',
  'drivers/block', 'drivers/char/hw_random', 'drivers/md', 'drivers/xen', 'drivers/virtio',
  'drivers/net/*.ko*', 'drivers/net/bonding', 'drivers/net/team', 'drivers/net/vxlan', 'drivers/net/wireguard', 'drivers/net/ipvlan',
] as const;

/** And of these not. */
export const leftModules = ['net/bluetooth', 'net/mac80211', 'net/wireless', 'net/nfc', 'net/can', 'net/ieee802154', 'net/mac802154', 'net/6lowpan', 'net/atm', 'net/appletalk', 'net/ax25', 'net/lapb', 'net/x25', 'net/rfkill', 'arch/x86/kvm', 'drivers/block/drbd'] as const;

/**
 * @param dep text of modules.dep: "path: path path", dependencies in any depth
 * @param builtin text of modules.builtin
 * @returns paths as in modules.dep, each after all that it needs
 */
export function loadOrder(dep: string, builtin: string, wanted: readonly string[] = bootModules): readonly string[] {
  const needs = new Map(dep.split('\n').filter((line) => line.includes(':')).map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).split(' ').filter((word) => word !== '')]));
  const byName = new Map([...needs.keys()].map((path) => [moduleName(path), path]));
  const inside = new Set(builtin.split('\n').map(moduleName));
  const order: string[] = [];
  const visit = (path: string): void => {
    if (order.includes(path)) return;
    for (const before of [...(needs.get(path) ?? [])].reverse()) if (before !== path) visit(before);
    if (!order.includes(path)) order.push(path);
  };
  for (const name of wanted) {
    const path = byName.get(moduleName(name));
    if (path !== undefined) visit(path);
    else if (needed.includes(name) && !inside.has(moduleName(name))) throw new GridError('build-failed', `this kernel has no module ${name}, without which a node cannot boot`);
  }
  return order;
}

/** "kernel/drivers/block/xen-blkfront.ko.xz" -> "xen_blkfront" */
function moduleName(path: string): string {
  return path.replace(/^.*\//, '').replace(/\.ko(\.[a-z]+)?$/, '').replaceAll('-', '_');
}
