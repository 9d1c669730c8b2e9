/**
 * From the certificates of a TLS connection to a Caller, or a refusal that says whose certificate, which
 * check, which file and what to do. A chain's signatures are checked once in five seconds for one
 * connection; expiry, bans, map and roles with every request.
 */
import { GridError } from '../../src/domain/error.js';
import type { Caller } from '../../src/domain/views.js';
import type { Log } from '../../src/log.js';
import { validateChain, type GridIdentity, type Verdict } from '../../src/pki/chain.js';
import type { Refusal, RefusalCode } from '../../src/pki/refusal.js';
import type { Trust, TrustDirectory } from '../../src/pki/trust-directory.js';
import { admit, isKnown, type NameFiles, type Speaker } from './admission.js';
import { quoteDn } from './dn-line.js';
import { watchNameFiles, type NameFilePaths } from './name-files.js';
import { voOf } from './name-pattern.js';

interface Validated {
  readonly identity: GridIdentity;
  readonly trust: Trust;
  /** Unix ms of the check. */
  readonly at: number;
}

const keepFor = 5_000;
/** Refusals that a newer file in the trust directory could lift. */
const staleCodes: readonly RefusalCode[] = ['crl', 'expired', 'unknown-authority', 'authority-disabled', 'signing-policy'];
const lookAgainEvery = 1_000;

export class Authenticator {
  readonly #trust: TrustDirectory;
  readonly #files: NameFilePaths;
  readonly #names: () => NameFiles;
  /** By the chain's array: peerChain gives one connection always the same one. */
  readonly #validated = new WeakMap<readonly Uint8Array[], Validated>();
  #lookedAgain = -Infinity;

  constructor(trust: TrustDirectory, files: NameFilePaths, log: Log) {
    this.#trust = trust;
    this.#files = files;
    this.#names = watchNameFiles(files, log);
  }

  /**
   * @param chain what the peer sent (peerChain): DER, leaf first
   * @throws GridError not-authenticated (the chain), not-authorized (banned, not in the map), unavailable (a file of ours is broken)
   */
  authenticate(chain: readonly Uint8Array[], now: Date): Caller {
    const identity = this.identify(chain, now);
    const speaker = speakerOf(identity);
    const admission = admit(this.#names(), speaker);
    if (admission.ban) {
      const { name, line } = admission.ban;
      throw new GridError('not-authorized', `${quoteDn(name)} is banned here (${this.#files.bans}:${line})`, { hint: 'ask the administrator of this grid' });
    }
    if (!isKnown(admission)) throw this.#unmapped(identity, speaker);
    return {
      subject: identity.subject,
      account: admission.mapped?.account ?? '',
      roles: admission.roles,
      issuer: identity.issuer,
      fqans: speaker.fqans,
      vo: voOf(speaker.fqans),
      limited: identity.limited,
      notAfter: identity.notAfter.getTime(),
      certificateNotAfter: endEntityOf(identity).notAfter,
    };
  }

  /** Identity alone, without bans and map: not-authenticated or an identity. */
  identify(chain: readonly Uint8Array[], now: Date): GridIdentity {
    const trust = this.#trust.current();
    const known = this.#validated.get(chain);
    const age = known ? now.getTime() - known.at : Infinity;
    if (known && known.trust === trust && age >= 0 && age < keepFor && now <= known.identity.notAfter) return known.identity;
    const verdict = this.#validate(chain, trust, now);
    if (!verdict.ok) throw refused(verdict.refusal);
    this.#validated.set(chain, { identity: verdict.identity, trust, at: now.getTime() });
    return verdict.identity;
  }

  #validate(chain: readonly Uint8Array[], trust: Trust, now: Date): Verdict {
    const verdict = validateChain(chain, trust, now);
    if (verdict.ok || !staleCodes.includes(verdict.refusal.code) || Math.abs(Date.now() - this.#lookedAgain) < lookAgainEvery) return verdict;
    this.#lookedAgain = Date.now();
    const fresh = this.#trust.refresh();
    return fresh === trust ? verdict : validateChain(chain, fresh, now);
  }

  #unmapped({ subject, independent }: GridIdentity, { fqans }: Speaker): GridError {
    const who = fqans.length === 0 ? quoteDn(subject) : `${quoteDn(subject)} with ${fqans.join(', ')}`;
    const whose = independent ? `${who}, an independent proxy that speaks in its own name only,` : who;
    return new GridError('not-authorized', `${whose} is not in the grid-mapfile (${this.#files.gridmap})`, {
      hint: independent ? 'make an ordinary proxy: gridvc proxy init' : `ask the administrator of this grid to add the line: ${quoteDn(subject)} ACCOUNT`,
    });
  }
}

function speakerOf(identity: GridIdentity): Speaker {
  const { chain } = identity;
  const authorities = chain.slice(chain.indexOf(endEntityOf(identity)) + 1);
  return { subject: identity.subject, fqans: identity.fqans, names: chain.map(({ subject }) => subject), authorities: authorities.map(({ subject }) => subject) };
}

/** The first of the chain that is no proxy. */
function endEntityOf({ chain }: GridIdentity): GridIdentity['chain'][number] {
  const found = chain.find(({ proxy }) => proxy === undefined);
  if (!found) throw new GridError('internal', 'a valid chain has no end entity');
  return found;
}

function refused(refusal: Refusal): GridError {
  return new GridError('not-authenticated', refusal.message, refusal.hint === undefined ? {} : { hint: refusal.hint });
}
