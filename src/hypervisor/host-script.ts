/**
 * What drivers share on their way to a host: constant scripts sent once and kept under their digest, one call
 * of a verb at a time per node, and failures as GridErrors that name the host.
 */
import { createHash } from 'node:crypto';
import { GridError } from '../domain/error.js';
import type { CommandResult, NodeTransport } from '../ports.js';

export interface HostScriptOptions {
  readonly transport: NodeTransport;
  /** Absolute directory on the host for layers and nodes. */
  readonly home: string;
  /** Short name, and the text of the script that is called; beside it what it needs, each under its own name. */
  readonly name: string;
  readonly text: string;
  readonly beside?: Readonly<Record<string, string>>;
}

const installScript = 'set -e; mkdir -p "$(dirname "$1")"; cat > "$1.$$"; chmod 755 "$1.$$"; sync "$1.$$"; mv -f "$1.$$" "$1"';

export class HostScript {
  private readonly path: string;
  private installed: Promise<void> | undefined;
  private readonly queues = new Map<string, Promise<unknown>>();

  constructor(private readonly options: HostScriptOptions) {
    this.path = this.pathOf(options.name, options.text);
  }

  /** Where a script beside the main one is kept on the host. */
  beside(name: string): string {
    return this.pathOf(name, this.options.beside?.[name] ?? '');
  }

  /** Calls `<script> <home> ...words`; never throws for a non-zero exit. */
  async call(words: readonly string[], input: string | Uint8Array = '', seconds = 60): Promise<CommandResult> {
    this.installed ??= this.install();
    await this.installed.catch((error: unknown) => {
      this.installed = undefined;
      throw error;
    });
    const result = await this.options.transport.run(['sh', this.path, this.options.home, ...words], { input, seconds });
    if (result.code === 127 || (result.code === 2 && result.stderr.includes(this.path))) this.installed = undefined; // somebody removed it: sent again next time
    return result;
  }

  /** Throws what a failed call means: disk-full, timeout or unavailable. */
  refuseFailure(what: string, result: CommandResult): void {
    if (result.code === 0) return;
    const { transport, home } = this.options;
    const kind = result.stderr.includes('No space left on device') ? 'disk-full' : result.code === undefined ? 'timeout' : 'unavailable';
    throw new GridError(kind, `host ${transport.host}: ${what}: ${result.reason}`, kind === 'disk-full' ? { hint: `free space below ${home} on that host` } : {});
  }

  /** One piece of work at a time under one id. */
  inOrder<T>(id: string, work: () => Promise<T>): Promise<T> {
    const mine = (this.queues.get(id) ?? Promise.resolve()).then(work, work);
    const settled = mine.catch(() => undefined).then(() => {
      if (this.queues.get(id) === settled) this.queues.delete(id);
    });
    this.queues.set(id, settled);
    return mine;
  }

  private pathOf(name: string, text: string): string {
    return `${this.options.home}/bin/${name}-${createHash('sha256').update(text).digest('hex').slice(0, 16)}.sh`;
  }

  private async install(): Promise<void> {
    const { transport, name, text, beside = {} } = this.options;
    for (const [part, content] of [...Object.entries(beside), [name, text] as const]) {
      const path = this.pathOf(part, content);
      if ((await transport.run(['test', '-s', path])).code === 0) continue;
      this.refuseFailure('the driver script cannot be written', await transport.run(['sh', '-c', installScript, 'install', path], { input: content }));
    }
  }
}
