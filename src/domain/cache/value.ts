/** What each held image is worth, the others being there, and which go when there are too many bytes. Pure. */
import type { Demand, Offer } from './saved-time.js';

/**
 * @param demands what was asked of late, with the seconds that each held image saves it, by the image's place
 * @returns by place: weighted seconds that would be lost without it
 */
export function valuesOf(images: number, demands: readonly Demand[]): readonly number[] {
  const values = new Array<number>(images).fill(0);
  for (const { weight, saves } of demands) {
    let [best, second, at] = [0, 0, -1];
    for (const [image, seconds] of saves) {
      if (seconds > best) [best, second, at] = [seconds, best, image];
      else second = Math.max(second, seconds);
    }
    if (at >= 0) values[at] = (values[at] ?? 0) + weight * (best - second);
  }
  return values;
}

export interface Keepable extends Offer {
  /** Some node or build uses it now: it stays. */
  readonly inUse: boolean;
  /** An administrator wanted it: it goes last. */
  readonly pinned: boolean;
}

/**
 * Which images go, least value per byte first, until the rest is within `budget` bytes and `most` images. Values are told anew after
 * each: of two that save the same, one stays. A shared layer is counted once, and freed with its last image.
 * @returns places of those that go, in that order
 */
export function evictions(images: readonly Keepable[], demands: readonly Demand[], budget: number, most: number): readonly number[] {
  const held = new Set(images.keys());
  const gone: number[] = [];
  while (bytesOf(images, held) > budget || held.size > most) {
    const left = demands.map(({ weight, saves }) => ({ weight, saves: new Map([...saves].filter(([image]) => held.has(image))) }));
    const values = valuesOf(images.length, left);
    const [first] = [...held]
      .filter((at) => images[at]?.inUse === false)
      .map((at) => ({ at, pinned: images[at]?.pinned === true, perByte: (values[at] ?? 0) / Math.max(1, ownBytes(images, held, at)) }))
      .sort((a, b) => Number(a.pinned) - Number(b.pinned) || a.perByte - b.perByte);
    if (first === undefined) return gone;
    held.delete(first.at);
    gone.push(first.at);
  }
  return gone;
}

function bytesOf(images: readonly Offer[], held: ReadonlySet<number>): number {
  const layers = new Map([...held].flatMap((at) => (images[at]?.layers ?? []).map(({ id, bytes }) => [id, bytes] as const)));
  return [...layers.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** Bytes that its going would free. */
function ownBytes(images: readonly Offer[], held: ReadonlySet<number>, at: number): number {
  const others = new Set([...held].filter((other) => other !== at).flatMap((other) => (images[other]?.layers ?? []).map(({ id }) => id)));
  return (images[at]?.layers ?? []).reduce((sum, { id, bytes }) => sum + (others.has(id) ? 0 : bytes), 0);
}
