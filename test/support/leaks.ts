/**
 * What this machine holds, as sorted lines by kind, so that a test can compare before and after:
 * processes, mounts, network namespaces, links, routes, cgroups, loop devices, and the files of given directories.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export type Holdings = Readonly<Record<string, readonly string[]>>;

/** @param directories listed recursively, names only (a database or cache that may grow is left out by the caller) */
export function holdings(directories: readonly string[] = []): Holdings {
  const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  const links = (netns?: string): string[] => lines('ip', [...(netns ? ['-n', netns] : []), '-o', 'link']).map((line) => `${netns ?? 'root'} ${line.split(':')[1]?.trim().split('@')[0] ?? ''}`);
  const routes = (netns?: string): string[] => lines('ip', [...(netns ? ['-n', netns] : []), 'route']).map((line) => `${netns ?? 'root'} ${line.replace(/ linkdown/, '').trim()}`);
  return {
    processes: processes(),
    mounts: readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' ').slice(1, 3).join(' ')).filter(Boolean).sort(),
    namespaces: [...namespaces].sort(),
    links: [links(), ...namespaces.map(links)].flat().sort(),
    routes: [routes(), ...namespaces.map(routes)].flat().sort(),
    cgroups: cgroups().sort(),
    loops: lines('losetup', ['-ln', '-O', 'BACK-FILE']).sort(),
    files: directories.flatMap((directory) => (existsSync(directory) ? readdirSync(directory, { recursive: true, encoding: 'utf8' }).map((file) => join(directory, file)) : [])).sort(),
  };
}

/** Lines "kind: + what" for each thing that came, "kind: - what" for each that went. Empty: nothing leaked, nothing lost. */
export function difference(before: Holdings, after: Holdings): string[] {
  return Object.keys(before).flatMap((kind) => {
    const rest = [...(before[kind] ?? [])];
    const came = (after[kind] ?? []).filter((line) => {
      const at = rest.indexOf(line);
      if (at >= 0) rest.splice(at, 1);
      return at < 0;
    });
    return [...came.map((line) => `${kind}: + ${line}`), ...rest.map((line) => `${kind}: - ${line}`)];
  });
}

/** Waits until nothing differs or `seconds` have passed (a dying process needs a moment); returns what is left. */
export async function settled(before: Holdings, directories: readonly string[] = [], seconds = 5): Promise<string[]> {
  for (let left = seconds * 10; ; left--) {
    const found = difference(before, holdings(directories));
    if (found.length === 0 || left <= 0) return found;
    await new Promise((wake) => setTimeout(wake, 100));
  }
}

/** What came and stays, after `settled`; something of an earlier test may still have been going when `before` was taken. */
export async function leaked(before: Holdings, directories: readonly string[] = [], seconds = 5): Promise<string[]> {
  return (await settled(before, directories, seconds)).filter((line) => line.includes(': + '));
}

/** Programs by name; kernel threads, the test's own process and what it spawns for looking are left out. */
function processes(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean);
        return command.length > 0 && /openvpn|runsv|sshd|runc|mpirun|orted|socat|nsenter|mmdebstrap|apt-get|dpkg|mksquashfs|unshare/.test(command[0] ?? '') ? [command.slice(0, 4).join(' ')] : [];
      } catch {
        return []; // it ended while we looked
      }
    })
    .sort();
}

function cgroups(): string[] {
  const roots = ['/sys/fs/cgroup', ...(existsSync('/sys/fs/cgroup') ? readdirSync('/sys/fs/cgroup').map((name) => join('/sys/fs/cgroup', name)) : [])];
  return roots.map((root) => join(root, 'gridvc')).filter((path) => existsSync(path)).flatMap((path) => readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => join(path, entry.name)));
}

function lines(command: string, argv: readonly string[]): string[] {
  try {
    return execFileSync(command, argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n').filter((line) => line.trim() !== '');
  } catch {
    return [];
  }
}

/**
 * Whatever still holds on to a directory, on a machine where others work too: processes (also those inside a build's own
 * mount namespace), mounts, loop devices; and all files below it. Waits up to `seconds` until it is what it was.
 * @param before an earlier answer; [] to see what is there now
 */
export async function traces(directory: string, before: readonly string[] = [], seconds = 5): Promise<string[]> {
  for (let left = seconds * 10; ; left--) {
    const found = tracesNow(directory).filter((line) => !before.includes(line));
    if (found.length === 0 || left <= 0 || before.length === 0) return found;
    await new Promise((wake) => setTimeout(wake, 100));
  }
}

function tracesNow(directory: string): string[] {
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const read = (path: string): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return ''; // it ended while we looked
    }
  };
  const holding = processes.flatMap((pid) => {
    const command = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim();
    const inside = read(`/proc/${pid}/mountinfo`).split('\n').flatMap((line) => (line.includes(`${directory}/`) ? [line.split(' ')[4] ?? ''] : []));
    if (command.includes(`${directory}/`)) return [`process ${command.slice(0, 200)}`];
    return inside.map((path) => `mount ${path}`);
  });
  const own = read('/proc/self/mountinfo').split('\n').flatMap((line) => (line.includes(`${directory}/`) ? [`mount ${line.split(' ')[4] ?? ''}`] : []));
  const loops = lines('losetup', ['-ln', '-O', 'BACK-FILE']).filter((line) => line.includes(`${directory}/`)).map((line) => `loop ${line.trim()}`);
  const files = existsSync(directory) ? readdirSync(directory, { recursive: true, encoding: 'utf8' }).map((file) => `file ${file}`) : [];
  return [...new Set([...holding, ...own, ...loops, ...files])].sort();
}
