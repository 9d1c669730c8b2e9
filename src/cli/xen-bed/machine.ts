/**
 * One emulated machine: QEMU with Xen as its kernel, dom0's kernel and initrd as its modules. Without working
 * hardware virtualization everything is emulated, and the flags say what an emulated Xen needs:
 *   - smap and smep off: dom0 crashes at once with them; svm, la57, pcid: Xen cannot use them there
 *   - avx and xsave off: QEMU 7.2 emulates them so that programs die of damaged memory now and then
 *   - a stack of mitigations off: they cost time and protect nothing here
 */
import { connect } from 'node:net';
import { readFile, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { GridError } from '../../domain/error.js';
import { lastLines } from '../../proc/output.js';
import { runCommand, startProcess, type RunningProcess } from '../../proc/command.js';
import type { Dom0Disk } from './disk.js';
import { bedNetwork, type Dom0Layout } from './layout.js';

export interface MachineOptions {
  readonly layout: Dom0Layout;
  readonly disk: Dom0Disk;
  readonly kvm: boolean;
  /** MiB of the whole machine and of its dom0; the rest is for domains. */
  readonly memory: number;
  readonly dom0Memory: number;
}

const emulatedCpu = 'max,-smap,-smep,-svm,-la57,-pcid,-avx,-avx2,-xsave';
/** Of each of the two machines. More than there are: Xen waits for one that does not run, and all is four to eight times as slow. */
const processors = Math.min(2, Math.max(1, Math.floor(availableParallelism() / 2)));
/** A loaded machine without hardware virtualization takes minutes; an idle one 12 s. */
const answerSeconds = 400;

export class Machine {
  private process: RunningProcess | undefined;
  private complaint = '';

  constructor(private readonly options: MachineOptions) {}

  get name(): string {
    return this.options.layout.name;
  }

  get address(): string {
    return this.options.layout.address;
  }

  /** Starts QEMU; it dies with us, however we end. */
  start(): void {
    const argv = ['nsenter', `--net=/run/netns/${bedNetwork.netns}`, 'setpriv', '--pdeathsig', 'KILL', ...qemuArguments(this.options)];
    this.process = startProcess(argv, { onLine: (line) => (this.complaint = line) });
  }

  /** Until its sshd speaks (the last thing that a dom0 starts). @throws unavailable with the console's tail */
  async awaitSsh(signal: AbortSignal, seconds = answerSeconds): Promise<void> {
    let ended = '';
    void this.process?.exited.then((end) => (ended = `QEMU ended (${end.reason || 'code 0'}) ${this.complaint}`));
    for (const deadline = Date.now() + seconds * 1000; ; ) {
      if (await speaksSsh(this.address, 10_000)) return;
      if (signal.aborted) throw new GridError('interrupted', `waiting for ${this.name} was interrupted`);
      if (ended !== '' || Date.now() > deadline) {
        throw new GridError('unavailable', `${this.name} did not come up: ${ended || `no ssh at ${this.address} within ${seconds} s`}\nits console:\n${await this.console()}`);
      }
      await sleep(200);
    }
  }

  /** As if its power had been cut for a moment: it boots again, with the drive as it was. */
  async reset(): Promise<void> {
    await this.monitor('system_reset');
  }

  /** Its power is cut, or given again, without a boot: all of it stands still. */
  async freeze(): Promise<void> {
    await this.monitor('stop');
  }

  async thaw(): Promise<void> {
    await this.monitor('cont');
  }

  /** Its network cable is pulled, or put in again. */
  async cable(plugged: boolean): Promise<void> {
    await this.monitor(`set_link link ${plugged ? 'on' : 'off'}`);
  }

  /** Last lines of what Xen and dom0 wrote to the serial line. */
  async console(count = 25): Promise<string> {
    return lastLines(await readFile(this.options.layout.console, 'latin1').catch(() => ''), count).join('\n');
  }

  async stop(): Promise<void> {
    await this.process?.stop(3);
    await Promise.all([this.options.layout.pid, this.options.layout.monitor].map((file) => rm(file, { force: true })));
  }

  /** One line to QEMU's monitor; over when its prompt is back. */
  private async monitor(line: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const socket = connect(this.options.layout.monitor);
      let text = '';
      let sent = false;
      const fail = (why: string): void => (socket.destroy(), reject(new GridError('unavailable', `${this.name}: QEMU's monitor ${why}`)));
      socket.setTimeout(10_000, () => fail('does not answer'));
      socket.once('error', (error) => fail(error.message));
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
        if (!text.includes('(qemu) ')) return;
        text = '';
        if (sent) return void (socket.destroy(), resolve());
        sent = true;
        socket.write(`${line}\n`);
      });
    });
  }
}

/** True if an SSH server greets at the address within the time. */
export function speaksSsh(address: string, milliseconds: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(22, address);
    const end = (answer: boolean): void => (socket.destroy(), resolve(answer));
    const timer = setTimeout(() => end(false), milliseconds);
    socket.once('close', () => clearTimeout(timer));
    socket.once('error', () => end(false)).once('data', (chunk: Buffer) => end(chunk.toString('latin1').startsWith('SSH-')));
  });
}

function qemuArguments(options: MachineOptions): string[] {
  const { layout, disk, kvm, memory, dom0Memory } = options;
  const emulated = 'smap=0 smep=0 spec-ctrl=no xpti=0 pv-l1tf=0';
  return [
    'qemu-system-x86_64', '-name', `gridvc-${layout.name}`, '-no-user-config', '-nodefaults', '-display', 'none', '-M', 'q35',
    ...(kvm ? ['-accel', 'kvm', '-cpu', 'max'] : ['-accel', 'tcg,thread=multi,tb-size=512', '-cpu', emulatedCpu]),
    '-smp', String(processors), '-m', String(memory),
    '-kernel', disk.xen, '-append', `dom0_mem=${dom0Memory}M,max:${dom0Memory}M console=com1 com1=115200,8n1 ${kvm ? '' : emulated}`,
    '-initrd', `${disk.vmlinux} console=hvc0 rw mitigations=off quiet panic=5,${disk.initrd}`,
    '-drive', `file=${disk.disk},format=raw,if=virtio,snapshot=on,cache=unsafe`,
    '-drive', `file=${layout.seed},format=raw,if=virtio,readonly=on`,
    '-netdev', `tap,id=lan,ifname=${layout.tap},script=no,downscript=no`, '-device', `virtio-net-pci,id=link,netdev=lan,mac=${layout.mac},romfile=`,
    '-serial', `file:${layout.console}`, '-monitor', `unix:${layout.monitor},server=on,wait=off`, '-pidfile', layout.pid,
  ];
}

/**
 * True if hardware virtualization really works here: a kernel must say something within the time. /dev/kvm opening,
 * and even QEMU starting, prove nothing.
 */
export async function kvmWorks(vmlinuz: string, signal: AbortSignal, seconds = 4): Promise<boolean> {
  const argv = ['setpriv', '--pdeathsig', 'KILL', 'qemu-system-x86_64', '-no-user-config', '-nodefaults', '-display', 'none', '-no-reboot', '-M', 'q35', '-accel', 'kvm', '-cpu', 'max', '-m', '256', '-serial', 'stdio', '-kernel', vmlinuz, '-append', 'console=ttyS0 earlyprintk=ttyS0 panic=-1'];
  let spoken = false;
  const probe = startProcess(argv, { onLine: (line) => (spoken ||= line.includes('Linux version')) });
  const until = performance.now() + seconds * 1000;
  while (!spoken && !signal.aborted && performance.now() < until && (await Promise.race([probe.exited.then(() => true), sleep(100).then(() => false)])) === false);
  await probe.stop(0);
  return spoken;
}

/** Ends QEMUs of this bed that outlived their keeper; a pid that is another program's by now is left alone. */
export async function endStray(layout: Dom0Layout): Promise<boolean> {
  const pid = Number(await readFile(layout.pid, 'utf8').catch(() => ''));
  if (!Number.isInteger(pid) || pid <= 1) return false;
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  if (!command.includes(layout.pid)) return false;
  await runCommand(['kill', '-KILL', '--', String(pid)]);
  return true;
}
