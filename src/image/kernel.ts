/**
 * Prepares a release's Debian kernel for nodes that are machines of their own: one layer that has the
 * kernel uncompressed (an emulated or paravirtual loader need not do it at each start), an initial RAM
 * disk with just the modules that reach the root and our first program, and the modules for later.
 *   /boot/vmlinux  /boot/initrd  /usr/lib/modules/<release>  /usr/lib/gridvc/poweroff
 * Made once per version of the package; its recipe says of which versions and by which script.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { GridError } from '../domain/error.js';
import type { Layer } from '../domain/image.js';
import { bootDirectories, bootFiles, bootPrograms, bootScript } from '../node/boot.js';
import { runCommand } from '../proc/command.js';
import { lastLines } from '../proc/output.js';
import type { KernelBuilder } from '../ports.js';
import type { AptCatalogue } from './apt.js';
import { packScript } from './build-scripts.js';
import { cpio, type CpioEntry } from './cpio.js';
import { removeTree, runInJail } from './jail.js';
import { keptModules, leftModules, loadOrder } from './kernel-modules.js';
import { modulesScript, unpackScript } from './kernel-scripts.js';
import type { LayerStore } from './layer-store.js';

/** The package that always depends on the newest kernel of a release. */
const newestKernel = 'linux-image-amd64';

export class DebianKernels implements KernelBuilder {
  private readonly versions = new Map<string, Promise<readonly string[]>>();

  constructor(
    private readonly store: LayerStore,
    private readonly catalogue: AptCatalogue,
  ) {}

  has(digest: string): Promise<boolean> {
    return this.store.has(digest);
  }

  async recipe(os: string): Promise<string> {
    return createHash('sha256').update(JSON.stringify([await this.packages(os), unpackScript, modulesScript, keptModules, leftModules, bootScript, bootPrograms, bootFiles])).digest('hex');
  }

  async build(os: string, options: { signal: AbortSignal }): Promise<Layer> {
    const packages = await this.packages(os);
    const stage = await this.store.stage('kernel');
    try {
      await this.download(os, packages, stage, options.signal);
      await this.jailed('unpacked', unpackScript, [stage], options.signal);
      const release = await kernelRelease(stage);
      await this.jailed('prepared', modulesScript, [stage, release, String(keptModules.length), ...keptModules, ...leftModules], options.signal);
      await mkdir(join(stage, 'tree/boot'));
      await writeFile(join(stage, 'tree/boot/vmlinux'), await uncompressed(join(stage, `kernel/boot/vmlinuz-${release}`), stage));
      await writeFile(join(stage, 'tree/boot/initrd'), cpio(await initrdEntries(stage, release)));
      for (const file of bootFiles) {
        await mkdir(dirname(join(stage, 'tree', file.path)), { recursive: true });
        await writeFile(join(stage, 'tree', file.path), file.text, { mode: file.mode });
      }
      const packed = join(stage, 'layer.sqfs');
      await this.jailed('packed', packScript, [join(stage, 'tree'), packed], options.signal);
      return await this.store.adopt(packed, { kind: 'kernel', os, key: '', packages });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw await this.store.diskFull(`preparing the kernel of ${os}`);
      throw error;
    } finally {
      await removeTree(stage);
    }
  }

  /** name=version of the kernel and of busybox; asked again when the lists are newer. */
  private async packages(os: string): Promise<readonly string[]> {
    const root = this.catalogue.root(os);
    if ((await root.updatedAt()) === 0) await this.catalogue.update(os, 0);
    const key = `${os} ${await root.updatedAt()}`;
    const known = this.versions.get(key);
    if (known !== undefined) return known;
    this.versions.clear();
    const asked = this.ask(os);
    this.versions.set(key, asked);
    asked.catch(() => this.versions.delete(key));
    return asked;
  }

  private async ask(os: string): Promise<readonly string[]> {
    const shown = await this.catalogue.root(os).run(['apt-cache', 'show', '--no-all-versions', '--', newestKernel, 'busybox-static']);
    const kernel = /^Depends: (?:.*, )?(linux-image-[a-z0-9.+-]+) \(= ([A-Za-z0-9.+:~-]+)\)/m.exec(shown.stdout);
    const busybox = /^Package: busybox-static\n(?:.+\n)*?Version: (\S+)$/m.exec(shown.stdout);
    if (kernel === null || busybox === null) throw new GridError('unavailable', `the apt sources of this site have no ${kernel === null ? newestKernel : 'busybox-static'} for ${os}; nodes on Xen need it`, { hint: 'add the main section of that release' });
    return [`${kernel[1]}=${kernel[2]}`, `busybox-static=${busybox[1]}`];
  }

  private async download(os: string, packages: readonly string[], stage: string, signal: AbortSignal): Promise<void> {
    const debs = join(stage, 'debs');
    await mkdir(debs);
    const result = await this.catalogue.root(os).run(['apt-get', '-q', 'download', '--', ...packages], { cwd: debs, signal, seconds: 1800 });
    if (result.code !== 0) throw new GridError('unavailable', `the kernel of ${os} could not be fetched: ${result.reason}`, { hint: 'check the apt sources of this site and its way to them' });
  }

  private async jailed(done: string, script: string, args: readonly string[], signal: AbortSignal): Promise<void> {
    const output: string[] = [];
    const failure = await runInJail({ script, args, network: false, signal, onLine: (line) => output.push(line) });
    if (failure !== '') throw new GridError('build-failed', `the kernel could not be ${done} (${failure}):\n${lastLines(output.join('\n'), 10).join('\n')}`);
  }
}

async function kernelRelease(stage: string): Promise<string> {
  const image = (await readdir(join(stage, 'kernel/boot'))).find((name) => /^vmlinuz-[a-z0-9.+-]+$/.test(name));
  if (image === undefined) throw new GridError('build-failed', "the kernel's package has no /boot/vmlinuz");
  return image.slice('vmlinuz-'.length);
}

/** The ELF file inside a bzImage (Documentation/arch/x86/boot: setup_sects, payload_offset, payload_length). */
async function uncompressed(image: string, stage: string): Promise<Uint8Array> {
  const bytes = await readFile(image);
  const start = (bytes.readUInt8(0x1f1) + 1) * 512 + bytes.readUInt32LE(0x248);
  const payload = bytes.subarray(start, start + bytes.readUInt32LE(0x24c));
  const elf = join(stage, 'vmlinux');
  const [program] = payload.readUInt32BE(0) === 0xfd377a58 ? ['xz'] : payload.readUInt32LE(0) === 0xfd2fb528 ? ['zstd'] : [];
  if (program !== undefined) {
    await writeFile(join(stage, 'payload'), payload.subarray(0, -4)); // after it stands the size
    const result = await runCommand(['sh', '-c', 'exec "$1" -dc < "$2" > "$3"', 'unpack', program, join(stage, 'payload'), elf], { seconds: 300 });
    if (result.code !== 0) throw new GridError('build-failed', `the kernel ${image} could not be uncompressed: ${result.reason}`);
  } else if (payload.readUInt16BE(0) === 0x1f8b) await writeFile(elf, gunzipSync(payload));
  const found = await readFile(elf).catch(() => Buffer.alloc(4));
  if (found.readUInt32BE(0) !== 0x7f454c46) throw new GridError('build-failed', `the kernel ${image} is compressed in a way that is not known here`);
  return found;
}

async function initrdEntries(stage: string, release: string): Promise<readonly CpioEntry[]> {
  const modules = join(stage, 'tree/usr/lib/modules', release);
  const order = loadOrder(await readFile(join(modules, 'modules.dep'), 'utf8'), await readFile(join(modules, 'modules.builtin'), 'utf8'));
  const busybox = await readFile(join(stage, 'busybox/bin/busybox')).catch(() => readFile(join(stage, 'busybox/usr/bin/busybox')));
  const file = (path: string, bytes: Uint8Array, mode: number): CpioEntry => ({ path, mode, content: { kind: 'file', bytes } });
  const name = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
  return [
    ...bootDirectories.map((path): CpioEntry => ({ path, mode: 0o755, content: { kind: 'directory' } })),
    file('bin/busybox', busybox, 0o755),
    ...bootPrograms.map((program): CpioEntry => ({ path: `bin/${program}`, mode: 0o777, content: { kind: 'link', target: 'busybox' } })),
    file('init', Buffer.from(bootScript), 0o755),
    file('modules/order', Buffer.from(order.map((path) => `${name(path)}\n`).join('')), 0o644),
    ...(await Promise.all(order.map(async (path) => file(`modules/${name(path)}`, await readFile(join(modules, path)), 0o644)))),
  ];
}
