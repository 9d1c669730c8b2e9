/**
 * The better rule of making, and eviction: within a byte budget, the set of images that would have
 * saved most predicted time over recent requests. A request is served by the one image that saves it
 * most, so an image's worth depends on the others. A new layer must bring in what its transfer costs: so what is held is
 * extended, not replaced by something a little better. Greedy by saved seconds per byte, once from
 * nothing and once from each of the images that save most alone; the best result is taken. For such (submodular)
 * gains that is never far from the optimum.
 */

export interface Demand {
  /** How often it was asked, weighted as the caller likes (recent ones more). */
  readonly weight: number;
  /** Seconds that each offer would save it against having no cache, by offer index; absent: it cannot serve. */
  readonly saves: ReadonlyMap<number, number>;
}

/** An image is a chain of layers over the base; images that share a layer pay for it once. */
export interface Offer {
  readonly layers: readonly OfferedLayer[];
}

export interface OfferedLayer {
  readonly id: number;
  readonly bytes: number;
  /** Seconds that requests will wait until hosts have it, in the unit of the savings (weighted); 0 or absent for one that they have. */
  readonly cost?: number;
}

export interface Selection {
  /** Indexes of the offers to hold, most worth first. */
  readonly held: readonly number[];
  readonly bytes: number;
  /** Weighted seconds saved over the demands, less the cost of new layers. */
  readonly saved: number;
}

const starts = 8;

/** Which offers to hold within `budget` bytes. Offers that save nothing are never held. */
export function mostSaved(offers: readonly Offer[], demands: readonly Demand[], budget: number): Selection {
  const served = demandsOf(offers, demands);
  const perByte = (gain: number, bytes: number): number => gain / Math.max(1, bytes);
  const alone = offers.map((_, offer) => ({ offer, gain: (served[offer] ?? []).reduce((sum, [, weighted]) => sum + weighted, 0) - (offers[offer]?.layers ?? []).reduce((sum, layer) => sum + (layer.cost ?? 0), 0) }));
  const firsts = alone.filter(({ gain }) => gain > 0).sort((a, b) => b.gain - a.gain).slice(0, starts).map(({ offer }) => [offer]);
  const found = [[], ...firsts].map((first) => greedy({ offers, demands, served, budget }, first, perByte));
  found.push(greedy({ offers, demands, served, budget }, [], (gain) => gain));
  return found.reduce((best, other) => (other.saved > best.saved ? other : best));
}

/** Per offer: the demands it can serve, with their weighted seconds. */
function demandsOf(offers: readonly Offer[], demands: readonly Demand[]): (readonly [number, number])[][] {
  const lists = offers.map((): (readonly [number, number])[] => []);
  demands.forEach(({ weight, saves }, d) => {
    for (const [offer, seconds] of saves) if (seconds > 0) lists[offer]?.push([d, weight * seconds]);
  });
  return lists;
}

/** Begins with the offers `first`, if they fit; then takes the offer of most worth until nothing fits or helps. */
function greedy(of: { offers: readonly Offer[]; demands: readonly Demand[]; served: (readonly [number, number])[][]; budget: number }, first: readonly number[], worth: (gain: number, bytes: number) => number): Selection {
  const { offers, budget } = of;
  const now = new Float64Array(of.demands.length); // weighted seconds that each demand is saved so far
  const layers = new Set<number>();
  const held: number[] = [];
  let bytes = 0;
  let saved = 0;
  for (;;) {
    let best = { offer: -1, gain: 0, bytes: 0, worth: 0 };
    offers.forEach(({ layers: needed }, offer) => {
      if (held.length < first.length && offer !== first[held.length]) return;
      let more = 0;
      let gain = 0;
      for (const layer of needed) {
        if (layers.has(layer.id)) continue;
        more += layer.bytes;
        gain -= layer.cost ?? 0;
      }
      if (more > budget - bytes) return;
      for (const [d, seconds] of of.served[offer] ?? []) gain += Math.max(0, seconds - (now[d] ?? 0));
      const value = gain > 0 ? worth(gain, more) : 0;
      if (value > best.worth) best = { offer, gain, bytes: more, worth: value };
    });
    if (best.offer < 0) return { held, bytes, saved };
    saved += best.gain;
    bytes += best.bytes;
    held.push(best.offer);
    for (const layer of offers[best.offer]?.layers ?? []) layers.add(layer.id);
    for (const [d, seconds] of of.served[best.offer] ?? []) now[d] = Math.max(now[d] ?? 0, seconds);
  }
}
