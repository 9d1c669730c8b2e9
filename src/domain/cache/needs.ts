/** From what each package depends on directly to all that must be there with it. Pure. */

/** @returns a package with all that it needs, itself first; told once for each */
export function allNeeds<P>(direct: (name: P) => readonly P[]): (name: P) => readonly P[] {
  const known = new Map<P, readonly P[]>();
  return (name) => {
    const ready = known.get(name);
    if (ready !== undefined) return ready;
    const found = new Set([name]);
    for (const each of found) for (const next of direct(each)) found.add(next); // a set grows while it is walked
    known.set(name, [...found]);
    return [...found];
  };
}
