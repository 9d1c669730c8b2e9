/**
 * The site's stock of layers: which exist, and the way to one that does not. Two requests for the
 * same base or delta share one build. A layer is used only if its file is whole; a row without its
 * file is dropped and the layer built again.
 */
import { GridError } from '../domain/error.js';
import type { Layer, Resolution } from '../domain/image.js';
import type { BaseImage, BuildProgress, BuiltDelta, Catalogue, ImageBuilder, MeasuredStage } from '../ports.js';
import type { Database } from '../store/database.js';
import { SharedWork } from './shared-work.js';

interface LayerRow {
  digest: string;
  kind: Layer['kind'];
  os: string;
  bytes: number;
}

export interface MadeImage {
  readonly layers: readonly Layer[];
  /** Empty if nothing was built for it. */
  readonly stages: readonly MeasuredStage[];
  readonly packages: BuiltDelta['packages'];
}

export class ImageStock {
  private readonly bases = new SharedWork<{ layer: BaseImage; stages: readonly MeasuredStage[] }>();
  private readonly deltas = new SharedWork<MadeImage>();

  constructor(
    private readonly db: Database,
    private readonly catalogue: Catalogue,
    private readonly builder: ImageBuilder,
    private readonly listsMaxAge: number,
  ) {}

  /** The base of a release, built if there is none (`stages` then says how long that took). */
  async base(os: string, signal: AbortSignal, progress: BuildProgress = () => {}): Promise<{ layer: BaseImage; stages: readonly MeasuredStage[] }> {
    this.checkRelease(os);
    const layer = await this.readyBase(os);
    if (layer !== undefined) return { layer, stages: [] };
    return this.bases.join(`the base image of ${os}`, signal, async (buildSignal) => {
      const built = await this.builder.base(os, { signal: buildSignal, progress });
      await this.db.rows('putLayer', built.layer.digest, 'base', os, built.layer.bytes, this.builder.recipe);
      return built;
    });
  }

  /** Refuses an unknown release or package name at once. */
  async checkNames(os: string, names: readonly string[]): Promise<void> {
    this.checkRelease(os);
    await this.catalogue.checkNames(os, names);
  }

  private checkRelease(os: string): void {
    const releases = this.catalogue.releases();
    if (!releases.includes(os)) throw new GridError('bad-request', `this site has no release ${JSON.stringify(os)}`, { hint: `it has: ${releases.join(', ')}` });
  }

  async readyBase(os: string): Promise<BaseImage | undefined> {
    const row = await this.db.row<LayerRow>('newestBase', os, this.builder.recipe);
    if (row === undefined) return undefined;
    if (await this.builder.has(row.digest)) return { digest: row.digest, kind: 'base', os, bytes: row.bytes };
    await this.db.rows('dropLayer', row.digest);
    return undefined;
  }

  /** Real apt's closure of `asked` over `base`; refuses unknown and conflicting packages. */
  async resolve(os: string, base: BaseImage, asked: readonly string[], signal: AbortSignal): Promise<Resolution> {
    await this.catalogue.update(os, this.listsMaxAge, signal);
    return this.catalogue.resolve(os, base, asked, signal);
  }

  /** Layers of the image for this exact closure, if it is cached and whole. */
  async cached(resolution: Resolution, base: BaseImage): Promise<readonly Layer[] | undefined> {
    if (resolution.packages.length === 0) return [base];
    const image = await this.db.row<{ layers: string[] }>('image', resolution.key);
    if (image === undefined) return undefined;
    const rows = await this.db.rows<LayerRow>('layersByDigest', image.layers);
    const layers = image.layers.map((digest) => rows.find((row) => row.digest === digest));
    const whole = await Promise.all(layers.map((layer) => layer !== undefined && this.builder.has(layer.digest)));
    if (whole.every(Boolean)) return layers.flatMap((layer) => (layer ? [{ digest: layer.digest, kind: layer.kind, bytes: layer.bytes }] : []));
    await this.db.rows('dropImage', resolution.key);
    return undefined;
  }

  /** The image for this closure: from the cache, or with its delta installed now. */
  async image(resolution: Resolution, base: BaseImage, signal: AbortSignal, progress: BuildProgress): Promise<MadeImage> {
    const ready = await this.cached(resolution, base);
    if (ready !== undefined) {
      await this.db.rows('useImage', resolution.key);
      return { layers: ready, stages: [], packages: [] };
    }
    return this.deltas.join(`the layer ${resolution.key.slice(0, 8)}`, signal, async (buildSignal) => {
      const built = await this.builder.delta(resolution, base, { signal: buildSignal, progress });
      const layers: Layer[] = [{ digest: base.digest, kind: 'base', bytes: base.bytes }, built.layer];
      await this.db.transaction(async (tx) => {
        await tx.rows('putLayer', built.layer.digest, 'delta', resolution.os, built.layer.bytes, '');
        await tx.rows('putImage', resolution.key, resolution.os, layers.map((layer) => layer.digest), JSON.stringify(resolution.packages));
      });
      return { layers, stages: built.stages, packages: built.packages };
    });
  }
}
