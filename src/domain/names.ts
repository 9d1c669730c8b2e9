/**
 * Every name that may ever reach a command line, a path or a configuration file is checked here,
 * by a closed pattern. The patterns are exported so that messages can quote them.
 */
import { GridError } from './error.js';

const patterns = {
  /** Debian policy 5.6.7, with an optional architecture and version as apt-get takes them. */
  package: /^[a-z0-9][a-z0-9+.-]{1,127}(:[a-z0-9-]{1,20})?(=[A-Za-z0-9.+:~-]{1,128})?$/,
  bundle: /^[a-z0-9][a-z0-9+.-]{0,63}$/,
  os: /^[a-z]{1,32}$/,
  site: /^[a-z][a-z0-9-]{0,31}$/,
  cluster: /^[a-z][a-z0-9]{7}$/,
  node: /^n[1-9][0-9]{0,4}$/,
  upload: /^u-[a-f0-9]{32}$/,
  idempotencyKey: /^[\x21-\x7e]{1,128}$/,
  digest: /^[a-f0-9]{64}$/,
  /** Absolute, no empty or dot segments, printable ASCII without quotes or backslash. */
  path: /^(\/(?!\.{1,2}(\/|$))[A-Za-z0-9 ._+@,=:-]+)+$/,
  sshKey: /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]{32,2048}={0,3}( [\x20-\x7e]{0,256})?$/,
} as const;

export type NameKind = keyof typeof patterns;

/** True if `text` is a well-formed name of this kind. */
export function isName(kind: NameKind, text: string): boolean {
  return text.length <= 4096 && patterns[kind].test(text);
}

/** Returns `text`, or throws bad-request naming the kind, the value (cut to 80 characters) and the pattern. */
export function checkName(kind: NameKind, text: string): string {
  if (isName(kind, text)) return text;
  throw new GridError('bad-request', `${JSON.stringify(text.slice(0, 80))} is not a valid ${kind} name`, {
    hint: `it must match ${patterns[kind].source}`,
  });
}
