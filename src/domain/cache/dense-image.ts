/**
 * Images worth thinking of, grown from what was asked: at each step what saves most predicted seconds per byte enters, either a
 * package with all that it needs, or all that one asked closure lacks. So each grown image can be installed. Two things count: the
 * seconds of the packages themselves, and what a request pays as long as anything of it is missing (a transaction, its triggers, a download):
 * one package more may end that.
 * Where nobody says what a package needs, the packages found in every closure that has it take its place: closed under
 * dependencies too, only larger than need be.
 */
export interface Asked<P> {
  readonly packages: readonly P[];
  readonly weight: number;
  /** Seconds that go when nothing of it is missing any more, beside those of its packages. Default 0. */
  readonly whole?: number;
}

export interface GrownImage<P> {
  readonly packages: readonly P[];
  readonly bytes: number;
}

/** What one package is worth: seconds that it saves a request, bytes it takes, and (if known) all packages that must be there with it. */
export interface Worth<P> {
  readonly seconds: number;
  readonly bytes: number;
  readonly needs?: readonly P[];
}

const mostClosures = 30; // looked at as a whole in each step
const mostAsked = 400; // closures that may be completed
const mostUnits = 20; // of the best single packages: they are rated with the closures that they complete

/** @returns the image after each step, each holding the one before, up to `budget` bytes */
export function growImages<P>(asked: readonly Asked<P>[], worthOf: (name: P) => Worth<P>, budget: number): readonly GrownImage<P>[] {
  const names = [...new Set(asked.flatMap(({ packages }) => packages))];
  const growth = new Growth(numbered(asked, names, worthOf));
  const grown: GrownImage<P>[] = [];
  for (;;) {
    const best = growth.best(budget);
    if (best === undefined) return grown;
    growth.add(best);
    grown.push({ packages: growth.order.map((i) => names[i] as P), bytes: growth.bytes });
  }
}

/** The question with packages as numbers: thousands of sums a step are quick in typed arrays only. */
interface Numbered {
  /** By package: weighted seconds, bytes. */
  readonly value: Float64Array;
  readonly size: Float64Array;
  readonly units: readonly Int32Array[];
  readonly closures: readonly { readonly packages: Int32Array; readonly weight: number; readonly whole: number }[];
}

interface Rated {
  readonly unit: Int32Array;
  /** Of what of it is not there yet. */
  readonly value: number;
  readonly bytes: number;
  /** Value by bytes. */
  readonly density: number;
}

class Growth {
  readonly order: number[] = [];
  bytes = 0;
  private readonly has: Uint8Array;
  private readonly inside: Uint8Array;
  private units: readonly Rated[];
  private closures: Numbered['closures'];
  /** By closure: its rarest missing package. A unit without it does not complete the closure. */
  private missing: Int32Array;

  constructor(private readonly of: Numbered) {
    this.has = new Uint8Array(of.value.length);
    this.inside = new Uint8Array(of.value.length);
    this.units = of.units.map((unit) => this.rate(unit));
    this.closures = of.closures;
    this.missing = Int32Array.from(of.closures, ({ packages }) => packages[0] ?? -1);
  }

  /** What to add next; undefined if nothing fits or helps. */
  best(budget: number): Int32Array | undefined {
    const fits = ({ value, bytes }: Rated): boolean => value > 0 && bytes <= budget - this.bytes;
    const single = densest(this.units, fits, mostUnits);
    const whole = this.closures.slice(0, mostClosures).map(({ packages }) => this.rate(packages)).filter(fits);
    return densest([...single, ...whole].map((rated) => this.withCompleted(rated)), fits, 1)[0]?.unit;
  }

  add(unit: Int32Array): void {
    for (const i of unit) {
      if (this.has[i] === 1) continue;
      this.has[i] = 1;
      this.inside[i] = 1;
      this.order.push(i);
      this.bytes += this.of.size[i] ?? 0;
    }
    const open = (packages: Int32Array): boolean => packages.some((i) => this.has[i] === 0);
    this.units = this.units.flatMap((rated) => (!this.touches(rated.unit) ? [rated] : open(rated.unit) ? [this.rate(rated.unit)] : []));
    for (const i of unit) this.inside[i] = 0;
    this.closures = this.closures.filter(({ packages }) => open(packages));
    this.missing = Int32Array.from(this.closures, ({ packages }) => packages.find((i) => this.has[i] === 0) ?? -1);
  }

  private touches(unit: Int32Array): boolean {
    for (const i of unit) if (this.inside[i] === 1) return true;
    return false;
  }

  private rate(unit: Int32Array): Rated {
    let value = 0;
    let bytes = 0;
    for (const i of unit) {
      if (this.has[i] === 1) continue;
      value += this.of.value[i] ?? 0;
      bytes += this.of.size[i] ?? 0;
    }
    return { unit, value, bytes, density: value / (bytes + 1) };
  }

  private withCompleted(rated: Rated): Rated {
    for (const i of rated.unit) this.inside[i] = 1;
    let value = rated.value;
    for (let c = 0; c < this.missing.length; c += 1) {
      if (this.inside[this.missing[c] ?? 0] === 1) value += this.wholeIfComplete(c);
    }
    for (const i of rated.unit) this.inside[i] = 0;
    return { ...rated, value, density: value / (rated.bytes + 1) };
  }

  private wholeIfComplete(c: number): number {
    const closure = this.closures[c];
    if (closure === undefined) return 0;
    for (const i of closure.packages) if (this.has[i] === 0 && this.inside[i] === 0) return 0;
    return closure.whole;
  }
}

/** The `most` densest of those that fit, densest first. */
function densest(rated: readonly Rated[], fits: (rated: Rated) => boolean, most: number): readonly Rated[] {
  const best: Rated[] = [];
  for (const each of rated) {
    if (best.length === most && each.density <= (best[most - 1]?.density ?? 0)) continue;
    if (!fits(each)) continue;
    let at = best.length;
    while (at > 0 && (best[at - 1]?.density ?? 0) < each.density) at -= 1;
    best.splice(at, 0, each);
    if (best.length > most) best.pop();
  }
  return best;
}

function numbered<P>(asked: readonly Asked<P>[], names: readonly P[], worthOf: (name: P) => Worth<P>): Numbered {
  const index = new Map(names.map((name, i) => [name, i] as const));
  const numbers = (packages: readonly P[]): Int32Array => Int32Array.from(packages.flatMap((name) => index.get(name) ?? []));
  const weight = new Float64Array(names.length);
  const sets = asked.map(({ packages }) => numbers(packages));
  sets.forEach((set, closure) => {
    for (const i of set) weight[i]! += asked[closure]?.weight ?? 0;
  });
  const worth = names.map(worthOf);
  return {
    value: Float64Array.from(worth, ({ seconds }, i) => seconds * (weight[i] ?? 0)),
    size: Float64Array.from(worth, ({ bytes }) => bytes),
    units: unitsOf(sets, worth.map(({ needs }, i) => (needs === undefined ? undefined : Int32Array.from(new Set([i, ...numbers(needs)]))))),
    // rarest package first
    closures: asked.map(({ weight: times, whole = 0 }, c) => ({ packages: (sets[c] ?? new Int32Array()).sort((a, b) => (weight[a] ?? 0) - (weight[b] ?? 0)), weight: times, whole: times * whole })).sort((a, b) => b.weight - a.weight).slice(0, mostAsked),
  };
}

/** For each way in which packages occur together: what one of them needs, or all packages that are in every closure which has it. */
function unitsOf(sets: readonly Int32Array[], needs: readonly (Int32Array | undefined)[]): readonly Int32Array[] {
  const members = needs.map((): number[] => []);
  sets.forEach((set, closure) => {
    for (const i of set) members[i]?.push(closure);
  });
  const has = sets.map((set) => new Set(set));
  const common = new Map<string, Int32Array>();
  members.forEach((where, i) => {
    const key = where.join();
    const [first = 0, ...rest] = where;
    if (needs[i] === undefined && !common.has(key)) common.set(key, (sets[first] ?? new Int32Array()).filter((other) => rest.every((closure) => has[closure]?.has(other) === true)));
  });
  return [...needs.flatMap((unit) => unit ?? []), ...common.values()];
}
