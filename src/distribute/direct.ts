/**
 * Brings layers from the head to each host, hosts and layers side by side: while one is synced, another travels. A layer
 * gets its name on the host when it is whole, right by its digest, and on the disk: one that has its name is not sent
 * again. A host that is this machine gets a hard link where it can: then nothing is copied.
 */
import { stat } from 'node:fs/promises';
import { GridError } from '../domain/error.js';
import type { Layer } from '../domain/image.js';
import { checkName, isName } from '../domain/names.js';
import { LocalTransport } from '../node/local.js';
import type { Distributor, NodeTransport } from '../ports.js';

export interface DirectOptions {
  /** Path of a layer file on the head. */
  readonly source: (digest: string) => string;
  /** The home directory on a host, by the host's name. */
  readonly home: (host: string) => string;
}

/** Arguments: directory, then digest and bytes in turn. Prints the digests that are missing. */
const missingScript = `
dir=$1; shift
mkdir -p "$dir"
while [ $# -gt 0 ]; do
  [ "$(stat -c %s "$dir/$1.sqfs" 2>/dev/null)" = "$2" ] || echo "$1"
  shift 2
done`;

/** Argument: directory. Prints the digest of each layer; what a crash of the host left half sent goes, when no transfer can be at it any more. */
const heldScript = `
cd "$1" 2> /dev/null || exit 0
find . -maxdepth 1 -name '*.part' -mmin +120 -delete
for layer in *.sqfs; do echo "\${layer%.sqfs}"; done`;

/** Arguments: directory, then digests. One that is mounted, or behind a loop or block device, stays. Prints digest and bytes of each that goes. */
const dropScript = `
dir=$1; shift
for digest; do
  if [ -e "\${dir%/layers}/mnt/$digest" ] || losetup -n -O NAME -j "$dir/$digest.sqfs" 2> /dev/null | grep -q .; then continue; fi
  bytes=$(stat -c %s "$dir/$digest.sqfs" 2> /dev/null) || bytes=0
  rm -f "$dir/$digest.sqfs"
  echo "$digest $bytes"
done`;

export class DirectDistributor implements Distributor {
  /** Two parts at once may want the same layer on the same host: it is sent once. */
  private readonly sending = new Map<string, Promise<number>>();
  /** By host: the layers that it is known to have. Only for estimates; a transfer looks itself. */
  private readonly known = new Map<string, Set<string>>();
  private readonly linking = new Map<string, boolean>();

  constructor(private readonly options: DirectOptions) {}

  async distribute(layers: readonly Layer[], hosts: readonly NodeTransport[], signal?: AbortSignal): Promise<{ bytes: number }> {
    return { bytes: await sumOf(hosts.map((host) => this.toHost(layers, host, signal))) };
  }

  async held(host: NodeTransport, signal?: AbortSignal): Promise<{ digests: ReadonlySet<string>; links: boolean }> {
    const links = this.linking.get(host.host) ?? host instanceof LocalTransport;
    const known = this.known.get(host.host);
    if (known !== undefined) return { digests: known, links };
    const answer = await host.run(['sh', '-c', heldScript, 'held', this.dir(host)], { seconds: 20, ...(signal ? { signal } : {}) });
    if (answer.code !== 0) throw new GridError('unavailable', `host ${host.host}: its layers cannot be listed: ${answer.reason}`);
    const digests = new Set(answer.stdout.split('\n').filter((line) => isName('digest', line)));
    this.known.set(host.host, digests);
    return { digests, links };
  }

  async drop(digests: readonly string[], host: NodeTransport, signal?: AbortSignal): Promise<readonly { digest: string; bytes: number }[]> {
    if (digests.length === 0) return [];
    const answer = await host.run(['sh', '-c', dropScript, 'drop', this.dir(host), ...digests.map((digest) => checkName('digest', digest))], { ...(signal ? { signal } : {}) });
    if (answer.code !== 0) throw new GridError('unavailable', `host ${host.host}: layers could not be removed: ${answer.reason}`);
    this.known.delete(host.host);
    return answer.stdout.split('\n').flatMap((line) => {
      const [, digest, bytes] = /^([a-f0-9]{64}) (\d+)$/.exec(line) ?? [];
      return digest === undefined ? [] : [{ digest, bytes: Number(bytes) }];
    });
  }

  private dir(host: NodeTransport): string {
    return `${this.options.home(host.host)}/layers`;
  }

  private async toHost(layers: readonly Layer[], host: NodeTransport, signal: AbortSignal | undefined): Promise<number> {
    const dir = this.dir(host);
    const wanted = layers.flatMap((layer) => [checkName('digest', layer.digest), String(layer.bytes)]);
    const answer = await host.run(['sh', '-c', missingScript, 'missing', dir, ...wanted], { ...(signal ? { signal } : {}) });
    if (answer.code !== 0) throw new GridError('unavailable', `host ${host.host}: its layers cannot be looked at: ${answer.reason}`);
    const missing = new Set(answer.stdout.split('\n'));
    const bytes = await sumOf(layers.filter(({ digest }) => missing.has(digest)).map((layer) => this.once(layer, host, dir, signal)));
    for (const { digest } of layers) this.known.get(host.host)?.add(digest);
    return bytes;
  }

  /** Bytes that this call sent: none if another one was at it, which is waited for. */
  private async once(layer: Layer, host: NodeTransport, dir: string, signal: AbortSignal | undefined): Promise<number> {
    const key = `${host.host} ${layer.digest}`;
    const running = this.sending.get(key);
    if (running) return running.then(() => 0);
    const mine = this.send(layer, host, dir, signal).finally(() => this.sending.delete(key));
    this.sending.set(key, mine);
    return mine;
  }

  private async send(layer: Layer, host: NodeTransport, dir: string, signal: AbortSignal | undefined): Promise<number> {
    const source = this.options.source(layer.digest);
    const target = `${dir}/${layer.digest}.sqfs`;
    const own = await stat(source).catch((cause: unknown) => {
      throw new GridError('not-found', `layer ${layer.digest} is not on the head`, { cause });
    });
    if (own.size !== layer.bytes) throw new GridError('internal', `layer ${layer.digest} has ${own.size} bytes on the head, not ${layer.bytes}`);
    const linked = host instanceof LocalTransport && (source === target || (await host.linkFile(source, target)));
    if (host instanceof LocalTransport) this.linking.set(host.host, linked);
    return linked ? 0 : (await host.putFile(source, target, { mode: 0o644, digest: layer.digest, ...(signal ? { signal } : {}) })).bytes;
  }
}

/** The sum, once all have ended; else the first failure. */
async function sumOf(all: readonly Promise<number>[]): Promise<number> {
  await Promise.allSettled(all);
  return (await Promise.all(all)).reduce((sum, one) => sum + one, 0);
}
