/**
 * The site's kernels, for hosts whose nodes are machines of their own: one layer per release, prepared once per version of
 * its packages and kept in the stock like every other layer.
 */
import type { Layer } from '../domain/image.js';
import type { KernelBuilder } from '../ports.js';
import type { Database } from '../store/database.js';
import { SharedWork } from './shared-work.js';

export class Kernels {
  private readonly building = new SharedWork<Layer>();

  constructor(
    private readonly db: Database,
    private readonly builder: KernelBuilder,
  ) {}

  /** The newest kernel of a release, prepared now if it is not there. @param onBuild called before it is made */
  async layer(os: string, signal: AbortSignal, onBuild: () => void = () => {}): Promise<Layer> {
    const recipe = await this.builder.recipe(os);
    const ready = await this.ready(os, recipe);
    if (ready !== undefined) return ready;
    onBuild();
    const { result } = await this.building.join(`the kernel of ${os}`, signal, async (buildSignal) => {
      const layer = await this.builder.build(os, { signal: buildSignal });
      await this.db.rows('putLayer', layer.digest, 'kernel', os, layer.bytes, recipe);
      return layer;
    });
    return result;
  }

  private async ready(os: string, recipe: string): Promise<Layer | undefined> {
    const row = await this.db.row<{ digest: string; bytes: number }>('newestKernel', os, recipe);
    if (row === undefined) return undefined;
    if (await this.builder.has(row.digest)) return { digest: row.digest, kind: 'kernel', bytes: row.bytes };
    await this.db.rows('dropLayer', row.digest);
    return undefined;
  }
}
