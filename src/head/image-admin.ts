/** What the administrator sees of the stock of images. The rows are the truth; files are looked at, nothing is changed by looking. */
import type { ImageDetail, ImageLayer, ImagePackage, ImageView } from '../domain/admin-views.js';
import { GridError } from '../domain/error.js';
import type { ImageAdmin, ImageBuilder } from '../ports.js';
import type { Database } from '../store/database.js';

interface ImageRow {
  readonly key: string;
  readonly os: string;
  readonly layers: readonly string[];
  readonly packages: number;
  readonly built: Date;
  readonly lastUsed: Date | null;
  readonly uses: number;
}

export class StockAdmin implements ImageAdmin {
  constructor(
    private readonly db: Database,
    private readonly builder: Pick<ImageBuilder, 'has'>,
  ) {}

  async list(): Promise<readonly ImageView[]> {
    const [rows, layers] = await Promise.all([this.db.rows<ImageRow>('allImages'), this.db.rows<ImageLayer>('allLayers')]);
    const byDigest = new Map(layers.map((layer) => [layer.digest, layer]));
    return Promise.all(rows.map((row) => this.view(row, byDigest)));
  }

  async show(beginning: string): Promise<ImageDetail> {
    const images = await this.list();
    const found = images.filter(({ key }) => key.startsWith(beginning));
    const [image, another] = found;
    if (image === undefined || !/^[0-9a-f]+$/.test(beginning)) throw new GridError('not-found', `this site has no image ${JSON.stringify(beginning.slice(0, 80))}`, { hint: 'gridvc image list shows its images' });
    if (another !== undefined) throw new GridError('bad-request', `${found.length} images begin with ${beginning}: ${found.slice(0, 4).map(({ key }) => key.slice(0, beginning.length + 8)).join(', ')}`, { hint: 'give more of the key' });
    if (image.kind === 'base') return { image, layers: [{ digest: image.key, kind: 'base', bytes: image.bytes }], packages: [] };
    const row = await this.db.row<{ layers: string[]; packages: ImagePackage[] }>('imageContent', image.key);
    const layers = await this.db.rows<ImageLayer>('layersByDigest', row?.layers ?? []);
    return {
      image,
      layers: (row?.layers ?? []).flatMap((digest) => layers.filter((layer) => layer.digest === digest).map(({ kind, bytes }) => ({ digest, kind, bytes }))),
      packages: (row?.packages ?? []).map(({ name, version, debBytes }) => ({ name, version, debBytes })),
    };
  }

  private async view(row: ImageRow, layers: ReadonlyMap<string, ImageLayer>): Promise<ImageView> {
    const own = row.layers.map((digest) => layers.get(digest));
    const whole = await Promise.all(row.layers.map((digest, i) => own[i] !== undefined && this.builder.has(digest)));
    const kind = own.at(-1)?.kind ?? 'delta';
    return {
      key: row.key,
      kind,
      os: row.os,
      packages: row.packages,
      layers: row.layers.length,
      bytes: own.reduce((sum, layer) => sum + (layer !== undefined && (kind === 'base' || layer.kind !== 'base') ? layer.bytes : 0), 0),
      built: row.built.toISOString(),
      ...(row.lastUsed === null ? {} : { lastUsed: row.lastUsed.toISOString() }),
      uses: row.uses,
      whole: whole.every(Boolean),
    };
  }
}
