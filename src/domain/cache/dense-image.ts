/**
 * Images worth thinking of, grown from what was asked: packages enter by the predicted seconds that
 * they would have saved per byte. Each step takes a whole "unit": the packages found in every closure that has
 * a given one. A unit is closed under dependencies, as every closure is; so each grown image can be installed.
 */
export interface Asked<P> {
  readonly packages: readonly P[];
  readonly weight: number;
}

export interface GrownImage<P> {
  readonly packages: readonly P[];
  readonly bytes: number;
}

/** @returns the image after each step, each holding the one before, up to `budget` bytes */
export function growImages<P>(asked: readonly Asked<P>[], worthOf: (name: P) => { seconds: number; bytes: number }, budget: number): readonly GrownImage<P>[] {
  const weights = new Map<P, number>();
  for (const { packages, weight } of asked) for (const name of packages) weights.set(name, (weights.get(name) ?? 0) + weight);
  const worth = new Map([...weights].map(([name, weight]) => [name, { value: weight * worthOf(name).seconds, bytes: worthOf(name).bytes }] as const));
  let open = unitsOf(asked);
  const has = new Set<P>();
  const grown: GrownImage<P>[] = [];
  let bytes = 0;
  for (;;) {
    open = open.map((unit) => unit.filter((name) => !has.has(name))).filter((unit) => unit.length > 0);
    const rated = open.map((unit) => ({ unit, ...sum(unit, worth) })).filter((candidate) => candidate.bytes <= budget - bytes && candidate.value > 0);
    const [first, ...others] = rated;
    if (first === undefined) return grown;
    const best = others.reduce((a, b) => (b.value / (b.bytes + 1) > a.value / (a.bytes + 1) ? b : a), first);
    for (const name of best.unit) has.add(name);
    bytes += best.bytes;
    grown.push({ packages: [...has], bytes });
  }
}

function sum<P>(unit: readonly P[], worth: ReadonlyMap<P, { value: number; bytes: number }>): { value: number; bytes: number } {
  let value = 0;
  let bytes = 0;
  for (const name of unit) {
    const of = worth.get(name);
    value += of?.value ?? 0;
    bytes += of?.bytes ?? 0;
  }
  return { value, bytes };
}

/** For each way in which packages occur together: all packages that are in every closure which has one of them. */
function unitsOf<P>(asked: readonly Asked<P>[]): P[][] {
  const members = new Map<P, number[]>();
  asked.forEach(({ packages }, i) => {
    for (const name of packages) members.set(name, [...(members.get(name) ?? []), i]);
  });
  const classes = new Map(([...members].map(([name, where]) => [where.join(), { name, where }] as const)));
  const sets = asked.map(({ packages }) => new Set(packages));
  return [...classes.values()].map(({ where: [first = 0, ...rest] }) => (asked[first]?.packages ?? []).filter((name) => rest.every((i) => sets[i]?.has(name) === true)));
}
