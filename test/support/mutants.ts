/** Chains with seeded faults, for the comparison with OpenSSL: each has a user of its own, so that many can be verified at once. */
import { encodeDn } from '../../src/pki/dn.js';
import { readOne } from '../../src/pki/der.js';
import { der, oid, sequence } from '../../src/pki/der-write.js';
import * as oids from '../../src/pki/oids.js';
import { writePem } from '../../src/pki/pem.js';
import * as f from './forge.js';

export interface Mutant {
  /** What was done to it. */
  readonly faults: readonly string[];
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
}

/** Small, fast, the same everywhere. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface World {
  readonly authorities: readonly f.Forged[];
  readonly keys: readonly f.Forged['key'][];
}

/** A root, a sub-authority, and a stock of keys: making one for each certificate would take most of the time. */
export function makeWorld(): World {
  const root = f.forge({ subject: '/O=Grid/CN=Root', extensions: f.authorityExtensions, to: 6000 });
  const sub = f.forge({ issuer: root, subject: '/O=Grid/CN=Sub', extensions: [f.authority(0), f.keyUsage(5, 6)], to: 6000 });
  return { authorities: [root, sub], keys: Array.from({ length: 40 }, f.ecKey) };
}

type Change = Partial<f.Parts> & { readonly name?: 'same' | 'other' | 'two' | 'ou' | 'multi' };

const unknown = f.extension('1.2.3.4', true, der(5));
const userFaults: Readonly<Record<string, Change>> = {
  'user expired': { to: -20 },
  'user of the future': { from: 300 },
  'user is an authority': { extensions: f.authorityExtensions },
  'user cannot sign': { extensions: [f.keyUsage(2)] },
  'user agrees on keys only': { extensions: [f.keyUsage(4)] },
  'user is a server': { extensions: [f.usages(oids.serverAuth)] },
  'user is client and server': { extensions: [f.usages(oids.serverAuth, oids.clientAuth)] },
  'user has an unknown critical extension': { extensions: [unknown] },
  'user has an alternative name': { extensions: [f.altName('alice.example.org')] },
  'user has keyCertSign': { extensions: [f.keyUsage(0, 5)] },
  'user without extensions': { extensions: [] },
};
const pci = f.proxyInfo(oids.inheritAll);
const proxyFaults: Readonly<Record<string, Change>> = {
  'proxy expired': { to: -20 },
  'proxy of the future': { from: 300 },
  'ProxyCertInfo not critical': { extensions: [f.proxyInfo(oids.inheritAll, { critical: false })] },
  'limited proxy': { extensions: [f.proxyInfo(oids.limitedProxy)] },
  'independent proxy': { extensions: [f.proxyInfo(oids.independent)] },
  'unknown policy language': { extensions: [f.proxyInfo('1.2.3.4')] },
  'policy beside inheritAll': { extensions: [f.proxyInfo(oids.inheritAll, { policy: 'x' })] },
  'path length 0': { extensions: [f.proxyInfo(oids.inheritAll, { pathLength: 0 })] },
  'path length 1': { extensions: [f.proxyInfo(oids.inheritAll, { pathLength: 1 })] },
  'proxy with an alternative name': { extensions: [pci, f.altName('x.example.org')] },
  'proxy is an authority': { extensions: [pci, f.authority()] },
  'proxy has keyCertSign': { extensions: [pci, f.keyUsage(0, 5)] },
  'proxy cannot sign': { extensions: [pci, f.keyUsage(2)] },
  'proxy is a server': { extensions: [pci, f.usages(oids.serverAuth)] },
  'proxy has an unknown critical extension': { extensions: [pci, unknown] },
  'ProxyCertInfo twice': { extensions: [pci, pci] },
  'no ProxyCertInfo': { extensions: [f.keyUsage(0)] },
  'draft ProxyCertInfo': { extensions: [f.extension(oids.draftProxyCertInfo, true, sequence(sequence(oid(oids.inheritAll))))] },
  'name of the issuer': { name: 'same' },
  'another name': { name: 'other' },
  'two CNs more': { name: 'two' },
  'an OU more': { name: 'ou' },
  'a CN of two parts': { name: 'multi' },
};

export function makeMutant(world: World, number: number): Mutant {
  const random = seeded(number * 7919 + 17);
  const chance = (probability: number): boolean => random() < probability;
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const faults: string[] = [];
  const change = (table: Readonly<Record<string, Change>>, probability: number): Change => {
    if (!chance(probability)) return {};
    const name = pick(Object.keys(table));
    faults.push(name);
    return table[name] ?? {};
  };
  const issuerOf = (issuer: f.Forged): f.Forged => {
    if (!chance(0.03)) return issuer;
    faults.push('signed by another key');
    return { ...issuer, key: pick(world.keys.filter((key) => key !== issuer.key)) };
  };
  const { name: _, ...user } = change(userFaults, 0.25);
  let current = f.forge({ issuer: issuerOf(pick(world.authorities)), subject: `/O=Grid/CN=User ${number}`, extensions: [f.notAuthority, f.keyUsage(0)], key: pick(world.keys), ...user });
  const chain = [current];
  for (let depth = Math.floor(random() * 4); depth > 0; depth--) {
    const { name, ...parts } = change(proxyFaults, 0.3);
    current = f.forge({ issuer: issuerOf(current), subject: subjectOf(current, name, `${number}${depth}`), extensions: [pci, f.keyUsage(0)], key: pick(world.keys), ...parts });
    chain.unshift(current);
  }
  return { faults, chain: sent(chain.map(({ raw }) => raw), random, faults, world) };
}

function subjectOf(issuer: f.Forged, kind: Change['name'], serial: string): Uint8Array {
  const start = readOne(issuer.subject).body;
  const attribute = (type: string, text: string): Uint8Array => sequence(oid(type), der(0x13, Buffer.from(text)));
  const common = der(0x31, attribute('2.5.4.3', serial));
  if (kind === 'same') return issuer.subject;
  if (kind === 'other') return encodeDn(`/O=Grid/CN=Mallory ${serial}/CN=1`);
  if (kind === 'two') return sequence(start, common, common);
  if (kind === 'ou') return sequence(start, der(0x31, attribute('2.5.4.11', serial)));
  if (kind === 'multi') return sequence(start, der(0x31, attribute('2.5.4.3', serial), attribute('2.5.4.11', serial)));
  return sequence(start, common);
}

/** What happens on the way: order, losses, extras, one byte changed. */
function sent(chain: readonly Uint8Array[], random: () => number, faults: string[], world: World): Uint8Array[] {
  const [leaf, ...rest] = chain as [Uint8Array, ...Uint8Array[]];
  const result = [...rest];
  const dice = random();
  const at = Math.floor(random() * result.length);
  if (dice < 0.05 && result.length > 1) {
    faults.push('unordered');
    result.reverse();
  } else if (dice < 0.1 && result.length > 0) {
    faults.push('one is missing');
    result.splice(at, 1);
  } else if (dice < 0.15) {
    faults.push('authorities sent');
    result.push(...world.authorities.map(({ raw }) => raw));
  } else if (dice < 0.4) {
    faults.push('one byte changed');
    const all = [leaf, ...result];
    const which = Math.floor(random() * all.length);
    const bytes = Buffer.from(all[which] as Uint8Array);
    const place = Math.floor(random() * bytes.length);
    bytes[place] = (bytes[place] ?? 0) ^ (1 + Math.floor(random() * 255));
    all[which] = bytes;
    return all;
  }
  return [leaf, ...result];
}

export const pemOf = (chain: readonly Uint8Array[]): string => chain.map((raw) => writePem('CERTIFICATE', raw)).join('');
