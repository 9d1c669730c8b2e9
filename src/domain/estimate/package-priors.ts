/** Seconds that configuring takes, of packages for which it takes long, on the machine of priors.ts. Written by `npm run bench:estimates -- --priors`. */
export const packagePriors: Readonly<Record<string, number>> = {};
