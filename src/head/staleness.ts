/** What new package lists mean for what is held: an image or base with an older version of anything is stale. Pure. */
import type { StockedImage } from './stocked-image.js';

/** name=version entries, or a map of them. */
export function isStale(contents: Iterable<readonly [string, string]>, newest: ReadonlyMap<string, string>): boolean {
  return [...contents].some(([name, version]) => newest.has(name) && newest.get(name) !== version);
}

/** All names that the lists must be asked about. */
export function namesToAsk(base: Iterable<readonly [string, string]>, images: readonly StockedImage[]): readonly string[] {
  return [...new Set([...[...base].map(([name]) => name), ...images.flatMap((image) => [...image.packages.keys()])])];
}

/** "name=version", as a layer's facts have it. */
export function splitEntry(entry: string): readonly [string, string] {
  const at = entry.indexOf('=');
  return [entry.slice(0, at), entry.slice(at + 1)];
}
