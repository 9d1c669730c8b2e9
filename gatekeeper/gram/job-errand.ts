/**
 * Two "jobs" of the standard clients that are no programs but requests to the gatekeeper: globus-job-get-output runs a
 * helper that reads the cache of the original, globus-job-clean a script that empties it (GRAM5.md, section 7). They are
 * known by what they run, and done here, without a cluster. Pure.
 */
import type { Program } from './job-request.js';
import type { KeptStream } from './kept-output.js';

export type Errand =
  | {
      readonly kind: 'get-output';
      readonly contact: string;
      readonly stream: KeptStream;
      /** The last lines only. */
      readonly tail?: number;
      /** The last lines, then what comes until the job ends. */
      readonly follow?: number;
      /** GASS server of the client. */
      readonly url: string;
    }
  | { readonly kind: 'clean'; readonly contacts: readonly string[] };

/** What the program stands for; undefined if it is what it is. */
export function errandOf(program: Program): Errand | undefined {
  const { executable, arguments: words } = program;
  const name = executable.kind === 'gass' ? executable.url : executable.path;
  if (executable.kind === 'gass' && name.endsWith('/globus-job-get-output-helper')) return outputErrand(words);
  if (executable.kind === 'node' && /(^|\/)globus-sh-exec$/.test(name)) return cleanErrand(words);
  return undefined;
}

function outputErrand(words: readonly string[]): Errand | undefined {
  const [tag, contact, stream, tail, follow, url] = words;
  if (tag !== 'anExtraTag' || contact === undefined || (stream !== 'stdout' && stream !== 'stderr') || url === undefined || !url.startsWith('https://')) return undefined;
  return { kind: 'get-output', contact, stream, ...lines('tail', tail), ...lines('follow', follow), url };
}

function lines(name: 'tail' | 'follow', text: string | undefined): object {
  return text !== undefined && /^\d{1,9}$/.test(text) ? { [name]: Number(text) } : {};
}

function cleanErrand(words: readonly string[]): Errand | undefined {
  const [flag, script = ''] = words;
  if (flag !== '-exec' || script.length > 8192 || !script.includes('globus-gass-cache -cleanup-url ')) return undefined;
  const contacts = [...script.matchAll(/-cleanup-url x-gass-cache:\/\/(https:[^\s"';]{1,1000}?)std(?:out|err)(?=[\s;]|$)/g)].flatMap((match) => match[1] ?? []);
  return contacts.length === 0 ? undefined : { kind: 'clean', contacts: [...new Set(contacts)] };
}
