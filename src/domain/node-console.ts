/** What a node that installs packages by itself says on its console (src/node/init.ts). Pure. */

/** Seconds that the installation took, by the node's own uptime; undefined if it is not over. */
export function finishedInstall(console: string): number | undefined {
  const [, begun, ended] = /^gridvc: installed \d+ packages, uptime (\d+(?:\.\d+)?) to (\d+(?:\.\d+)?)\s*$/m.exec(console) ?? [];
  if (begun === undefined || ended === undefined) return undefined;
  return Math.max(0, Number(ended) - Number(begun));
}

/** Why it failed, with the package and the end of apt's words; undefined if it has not. */
export function failedInstall(console: string): string | undefined {
  if (!/^gridvc: install failed/m.test(console)) return undefined;
  const culprit = /Errors were encountered while processing:\s+(\S+)/.exec(console)?.[1] ?? /dpkg: error processing (?:package|archive) (\S+)/.exec(console)?.[1];
  const lines = console.trim().split('\n').slice(-20).join('\n');
  const what = culprit === undefined ? 'its packages could not be installed' : `package ${(culprit.split('/').at(-1) ?? culprit).replace(/_.*\.deb$/, '')} failed to install`;
  return `${what}; the log ends:\n${lines}`;
}
