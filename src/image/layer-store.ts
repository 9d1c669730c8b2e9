/**
 * Layer files: <home>/layers/<digest>.sqfs, and beside each <digest>.json (facts) and, for a base,
 * <digest>.status (its dpkg status). The facts are written before the layer gets its name, so a
 * layer that exists is whole. Staging happens in <home>/staging on the same file system.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, mkdir, open, readFile, readdir, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GridError } from '../domain/error.js';
import type { Layer, LayerKind } from '../domain/image.js';
import { checkName } from '../domain/names.js';

/** What is known of a layer besides its bytes; kept for people and for repair, not read by the build. */
export interface LayerFacts {
  readonly kind: LayerKind;
  readonly os: string;
  /** Resolution.key for a delta, "" for a base. */
  readonly key: string;
  /** name=version */
  readonly packages: readonly string[];
}

export class LayerStore {
  readonly layers: string;
  readonly staging: string;

  /** @param home the head's home */
  constructor(home: string) {
    this.layers = join(home, 'layers');
    this.staging = join(home, 'staging');
  }

  path(digest: string): string {
    return join(this.layers, `${checkName('digest', digest)}.sqfs`);
  }

  statusPath(digest: string): string {
    return join(this.layers, `${checkName('digest', digest)}.status`);
  }

  /** True if the file is there with the size that its facts tell. Facts that cannot be read (a machine that lost power) are none. */
  async has(digest: string): Promise<boolean> {
    const facts = await readFile(this.factsPath(digest), 'utf8').catch(() => '');
    const file = await stat(this.path(digest)).catch(() => undefined);
    const noted = /"bytes": (\d+),/.exec(facts)?.[1];
    return file !== undefined && noted !== undefined && Number(noted) === file.size;
  }

  /** True if the file's bytes still give its name. */
  async verify(digest: string, signal: AbortSignal): Promise<boolean> {
    if (!(await this.has(digest))) return false;
    try {
      return (await digestOf(this.path(digest), signal)).digest === digest;
    } catch (error) {
      if (signal.aborted) throw new GridError('interrupted', 'the check of a layer was interrupted', { cause: error });
      return false; // the disk cannot read it
    }
  }

  /** Empty if nothing is noted of it. */
  async contents(digest: string): Promise<readonly string[]> {
    const facts = await readFile(this.factsPath(digest), 'utf8').catch(() => '{}');
    try {
      return (JSON.parse(facts) as Partial<LayerFacts>).packages ?? [];
    } catch {
      return []; // half written by a machine that lost power
    }
  }

  async digests(): Promise<readonly string[]> {
    const names = await readdir(this.layers).catch(() => []);
    return [...new Set(names.flatMap((name) => /^([a-f0-9]{64})\.(sqfs|json|status)$/.exec(name)?.[1] ?? []))];
  }

  /** The file itself first: without it the rest is nothing. */
  async remove(digest: string): Promise<number> {
    const bytes = (await stat(this.path(digest)).catch(() => undefined))?.size ?? 0;
    for (const path of [this.path(digest), this.statusPath(digest), this.factsPath(digest)]) await rm(path, { force: true });
    return bytes;
  }

  /** A fresh directory for one build; the caller removes it, whatever happens. */
  async stage(what: string): Promise<string> {
    const dir = join(this.staging, `${what}-${randomBytes(6).toString('hex')}`);
    await mkdir(dir, { recursive: true });
    return dir;
  }

  /** Makes a finished squashfs file (and a base's status file) a layer. `known`: its digest, if it was taken already. */
  async adopt(file: string, facts: LayerFacts, options: { status?: string | undefined; known?: LayerDigest | undefined } = {}): Promise<Layer> {
    await mkdir(this.layers, { recursive: true });
    const { status } = options;
    const { digest, bytes } = options.known ?? (await digestAndSync(file));
    if (status !== undefined) await copyFile(status, this.statusPath(digest));
    await writeFile(this.factsPath(digest), `${JSON.stringify({ ...facts, bytes, made: new Date().toISOString() }, undefined, 1)}\n`);
    await rename(file, this.path(digest));
    return { digest, kind: facts.kind, bytes };
  }

  /** disk-full naming the directory and what is free there. */
  async diskFull(doing: string): Promise<GridError> {
    const fs = await statfs(this.staging).catch(() => undefined);
    const free = fs === undefined ? 'unknown' : `${fs.bavail * fs.bsize}`;
    return new GridError('disk-full', `no space left in ${this.staging} (${free} bytes free) while ${doing}`, { hint: 'remove unused layers or give the home directory more space' });
  }

  private factsPath(digest: string): string {
    return join(this.layers, `${checkName('digest', digest)}.json`);
  }
}

export interface LayerDigest {
  readonly digest: string;
  readonly bytes: number;
}

async function digestOf(path: string, signal?: AbortSignal): Promise<LayerDigest> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, ...(signal ? { signal } : {}) })) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
  }
  return { digest: hash.digest('hex'), bytes };
}

/** Digest of a finished file, which is on the disk when this ends. */
export async function digestAndSync(path: string): Promise<LayerDigest> {
  const found = await digestOf(path);
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  return found;
}
