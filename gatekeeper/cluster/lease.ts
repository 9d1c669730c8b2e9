/**
 * How long a cluster may live: as asked, but no longer than its owner's credential, on whose authority it runs; and how
 * long a credential must last for a cluster to be begun at all.
 */
import { GridError } from '../../src/domain/error.js';

export interface Lease {
  /** The end as asked, and as it is. */
  readonly asked: Date;
  readonly expires: Date;
  readonly warnings: readonly string[];
}

/** @param ends until when we may act for the owner (proxy or delegation), and the end of their own certificate */
export function leaseOf(from: Date, minutes: number, ends: { readonly until: Date; readonly certificate: Date }): Lease {
  const asked = new Date(from.getTime() + minutes * 60_000);
  const { until, certificate } = ends;
  const warnings: string[] = [];
  if (until < asked) warnings.push(`your proxy ends before the lease: everything ends with it, ${until.toISOString()}; delegate a longer one (gridvc proxy delegate), or extend the lease with a newer proxy`);
  if (certificate < asked) warnings.push(`your own certificate ends before the lease, ${certificate.toISOString()}: no proxy of it lasts longer; get a new certificate from your CA`);
  return { asked, expires: until < asked ? until : asked, warnings };
}

const usualMargin = 300;
/** A credential with more than this left is not measured against an estimate. */
const ampleSeconds = 3600;
const estimateSeconds = 5;
/** For sites that do not say: a first build of a middling image. */
const unknownBuildSeconds = 120;

/**
 * Refuses (not-authorized) to begin what the credential will not outlive: the estimated build and a margin.
 * @param estimate seconds that the build takes; asked only if the credential is short, and waited for only a few seconds
 */
export async function checkCredential(until: Date, marginSeconds = usualMargin, estimate: () => Promise<number | undefined>, now = new Date()): Promise<void> {
  const left = (until.getTime() - now.getTime()) / 1000;
  if (left > ampleSeconds + marginSeconds) return;
  const known = await inTime(estimate());
  const build = Math.ceil(known ?? unknownBuildSeconds);
  if (left >= build + marginSeconds) return;
  const source = known === undefined ? ', which no site could estimate now' : ', as estimated';
  throw new GridError('not-authorized', `your credential ends in ${Math.max(0, Math.floor(left))} s (${until.toISOString()}); at least ${build + marginSeconds} s are needed: ${build} s to build the cluster${source}, and a margin of ${marginSeconds} s`, {
    hint: 'make a longer proxy (gridvc proxy init --hours N), or delegate one (gridvc proxy delegate)',
  });
}

async function inTime(estimate: Promise<number | undefined>): Promise<number | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), estimateSeconds * 1000)));
  try {
    return await Promise.race([estimate.catch(() => undefined), late]);
  } finally {
    clearTimeout(timer);
  }
}
