/**
 * What a head can do about a failed bring-up before the user hears of it. Each remedy is tried once for a part; then the
 * steps run again from the first. A cache never makes a request fail: its images are left out, its bytes given up.
 */
import { isGridError } from '../domain/error.js';
import type { Job } from './bring-up.js';

/** @returns in words what was done and will be tried now; undefined: nothing helps */
export async function remedyFor(job: Job, error: unknown): Promise<string | undefined> {
  if (job.signal.aborted || isGridError(error, 'interrupted') || isGridError(error, 'bad-request')) return undefined;
  for (const [name, remedy] of Object.entries(remedies)) {
    if (job.tried.has(name)) continue;
    const done = await remedy(job, error).catch((fault: unknown) => void job.head.log.warn({ cluster: job.spec.cluster, err: fault, remedy: name }, 'a remedy failed'));
    if (done === undefined) continue;
    job.tried.add(name);
    return done;
  }
  return undefined;
}

type Remedy = (job: Job, error: unknown) => Promise<string | undefined>;

const remedies: Readonly<Record<string, Remedy>> = {
  /** The cache has filled the disk: it gives way. */
  room: async ({ head }, error) => {
    if (!isGridError(error, 'disk-full')) return undefined;
    const freed = await head.makeRoom();
    return freed > 0 ? `${(freed / 1e6).toFixed(0)} MB of the cache were given up; trying again` : undefined;
  },

  /** A layer under this part has changed on the disk. */
  brokenLayer: async ({ head, found, signal }) => {
    const layers = found.layers ?? found.chosen?.planned.chosen.image?.layers ?? (found.chosen === undefined ? [] : [found.chosen.base]);
    const broken = await head.stock.findBroken(layers, signal);
    return broken.length > 0 ? `layer ${broken.map((digest) => digest.slice(0, 8)).join(', ')} was damaged and is gone; building anew` : undefined;
  },

  /** The image is whole, yet what was to be added does not go onto it. */
  otherImage: async ({ found, without }, error) => {
    const image = found.chosen?.planned.chosen.image;
    if (image === undefined || found.layers !== undefined || !isGridError(error, 'build-failed')) return undefined;
    without.add(image.key);
    return `trying without cache image ${image.name}`;
  },

  /** The mirror has other versions than our lists: it moved on in between. */
  freshLists: async ({ head, spec, found, signal }, error) => {
    if (!isGridError(error, 'unavailable') || found.chosen === undefined || found.layers !== undefined) return undefined;
    const { resolution, base } = found.chosen;
    const again = await head.stock.resolve(spec.os, base, resolution.asked, signal, 0);
    return again.key === resolution.key ? undefined : 'the package lists were old; trying again with new ones';
  },
};
