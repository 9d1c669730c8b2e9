/** The paper's rule of making: packages found in at least M % of the last N requests are added to the base image. */

export interface PopularityRule {
  /** Last N requests that count. */
  readonly requests: number;
  /** M: percent of them that must have a package. */
  readonly percent: number;
}

/** What the paper leaves open; gridvc's starting values. */
export const defaultRule: PopularityRule = { requests: 100, percent: 50 };

/**
 * @param history closures of past requests (package keys), oldest first
 * @returns the packages that a cache image by the paper's rule holds, sorted
 */
export function popularPackages<P extends string | number>(history: readonly Iterable<P>[], rule: PopularityRule = defaultRule): readonly P[] {
  const recent = history.slice(-rule.requests);
  const counts = new Map<P, number>();
  for (const closure of recent) for (const name of new Set(closure)) counts.set(name, (counts.get(name) ?? 0) + 1);
  const least = Math.max(1, (rule.percent / 100) * recent.length);
  return [...counts].filter(([, count]) => count >= least).map(([name]) => name).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}
