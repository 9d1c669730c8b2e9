/**
 * The better rule of making, and eviction: within a byte budget, the set of images that would have
 * saved most predicted time over recent requests. A request is served by the one image that saves it
 * most, so an image's worth depends on the others. Greedy by saved seconds per byte, and compared with the
 * best single images first: for such (submodular) gains that is never far from the optimum.
 */

export interface Demand {
  /** How often it was asked, weighted as the caller likes (recent ones more). */
  readonly weight: number;
  /** Seconds that each offer would save it against having no cache, by offer index; absent: it cannot serve. */
  readonly saves: ReadonlyMap<number, number>;
}

export interface Offer {
  readonly bytes: number;
}

export interface Selection {
  /** Indexes of the offers to hold, most worth first. */
  readonly held: readonly number[];
  readonly bytes: number;
  /** Weighted seconds saved over the demands. */
  readonly saved: number;
}

/** Which offers to hold within `budget` bytes. Offers that save nothing are never held. */
export function mostSaved(offers: readonly Offer[], demands: readonly Demand[], budget: number): Selection {
  const perByte = greedy(offers, demands, budget, (gain, bytes) => gain / Math.max(1, bytes));
  const perImage = greedy(offers, demands, budget, (gain) => gain);
  return perByte.saved >= perImage.saved ? perByte : perImage;
}

function greedy(offers: readonly Offer[], demands: readonly Demand[], budget: number, worth: (gain: number, bytes: number) => number): Selection {
  const served = demands.map(() => 0);
  const demandsOf = offers.map((): number[] => []);
  demands.forEach((demand, d) => {
    for (const [offer, seconds] of demand.saves) if (seconds > 0) demandsOf[offer]?.push(d);
  });
  const gainOf = (offer: number): number =>
    (demandsOf[offer] ?? []).reduce((sum, d) => sum + (demands[d]?.weight ?? 0) * Math.max(0, (demands[d]?.saves.get(offer) ?? 0) - (served[d] ?? 0)), 0);
  // Gains only ever shrink as images are added: an old gain is an upper bound, so most need no new look.
  const bounds = offers.map(({ bytes }, offer) => ({ offer, bytes, worth: worth(gainOf(offer), bytes) }));
  const held: number[] = [];
  let bytes = 0;
  let saved = 0;
  for (;;) {
    const best = nextBest(bounds.filter((bound) => bound.bytes <= budget - bytes && bound.worth > 0), (offer, size) => worth(gainOf(offer), size));
    if (best === undefined) return { held, bytes, saved };
    saved += gainOf(best.offer);
    bytes += best.bytes;
    held.push(best.offer);
    for (const d of demandsOf[best.offer] ?? []) served[d] = Math.max(served[d] ?? 0, demands[d]?.saves.get(best.offer) ?? 0);
    best.worth = 0;
  }
}

interface Bound {
  readonly offer: number;
  readonly bytes: number;
  worth: number;
}

function nextBest(bounds: Bound[], worthNow: (offer: number, bytes: number) => number): Bound | undefined {
  let best: Bound | undefined;
  for (const bound of bounds.sort((a, b) => b.worth - a.worth)) {
    if (best !== undefined && bound.worth <= best.worth) break;
    bound.worth = worthNow(bound.offer, bound.bytes);
    if (bound.worth > 0 && (best === undefined || bound.worth > best.worth)) best = bound;
  }
  return best;
}

/** What an image was worth of late, for eviction. */
export interface Held {
  readonly id: string;
  readonly bytes: number;
  /** Predicted seconds it would save over recent requests, the other images being there. */
  readonly saves: number;
  /** Some node or build uses it now. */
  readonly inUse: boolean;
}

/** Images to drop, least saved seconds per byte first, until the rest fits the budget; images in use stay. */
export function evict(held: readonly Held[], budget: number): readonly string[] {
  let over = held.reduce((sum, image) => sum + image.bytes, 0) - budget;
  const dropped: string[] = [];
  for (const image of [...held].filter(({ inUse }) => !inUse).sort((a, b) => a.saves / Math.max(1, a.bytes) - b.saves / Math.max(1, b.bytes))) {
    if (over <= 0) break;
    dropped.push(image.id);
    over -= image.bytes;
  }
  return dropped;
}
