/** The scheduler: what it must never do, by random grids; what it must say, by example. */
import fc from 'fast-check';
import t from 'tap';
import { roomFor } from '../src/domain/capacity.js';
import { isGridError } from '../src/domain/error.js';
import { required, schedule, type Demand, type KnownSite } from '../gatekeeper/schedule.js';

const host = fc.record({ freeMemory: fc.integer({ min: 0, max: 8000 }), freeDisk: fc.integer({ min: 0, max: 40000 }), vcpus: fc.integer({ min: 0, max: 4 }) });
const grid = fc.array(fc.array(host, { maxLength: 4 }), { maxLength: 5 }).map((sites) =>
  sites.map((hosts, i): KnownSite => {
    const name = `s${i}`;
    return { name, state: 'open', snapshot: { site: name, releases: ['bookworm'], bundles: ['mpi'], hosts: hosts.map((h, k) => ({ host: `h${k}`, ...h })) } };
  }),
);
const demand = fc
  .record({
    count: fc.integer({ min: 1, max: 60 }),
    cut: fc.integer({ min: 0, max: 59 }),
    memory: fc.integer({ min: 64, max: 4000 }),
    disk: fc.integer({ min: 200, max: 8000 }),
    vcpus: fc.integer({ min: 1, max: 8 }),
    placement: fc.constantFrom<'pack' | 'spread'>('pack', 'spread'),
    onFailure: fc.constantFrom<'all' | 'minimum' | 'any'>('all', 'minimum', 'any'),
  })
  .map(({ cut, ...d }): Demand => ({ ...d, minCount: Math.max(1, d.count - cut), os: 'bookworm', bundles: [], sites: [] }));

const roomOf = (site: KnownSite | undefined, d: Demand): number => (site?.snapshot?.hosts ?? []).reduce((sum, h) => sum + roomFor(d, h), 0);

void t.test('random grids', async (t) => {
  fc.assert(
    fc.property(grid, demand, (sites, d) => {
      const total = sites.reduce((sum, site) => sum + roomOf(site, d), 0);
      let shares;
      try {
        shares = schedule(d, sites);
      } catch (error) {
        if (!isGridError(error, 'no-capacity')) throw error;
        return total < required(d);
      }
      const placed = shares.reduce((sum, share) => sum + share.nodes, 0);
      const fits = shares.every((share) => share.nodes >= 1 && share.nodes <= roomOf(sites.find((s) => s.name === share.site), d));
      const once = new Set(shares.map((share) => share.site)).size === shares.length;
      if (!fits || !once || placed !== Math.min(d.count, total)) return false;
      const rooms = sites.map((site) => roomOf(site, d)).sort((a, b) => b - a);
      if (d.placement === 'pack') {
        return rooms.slice(0, shares.length - 1).reduce((sum, room) => sum + room, 0) < placed; // one site fewer would not do
      }
      // even: a site that got less than another by two or more is full; a site that got nothing while another got two is full
      const got = new Map(shares.map((share) => [share.site, share.nodes]));
      const most = Math.max(...got.values());
      return sites.every((site) => (got.get(site.name) ?? 0) >= most - 1 || (got.get(site.name) ?? 0) === roomOf(site, d));
    }),
    { numRuns: 500 },
  );
  t.pass('500 grids');
});

void t.test('words', async (t) => {
  const site = (name: string, nodes: number, more: Partial<KnownSite> = {}): KnownSite => ({
    name,
    state: 'open',
    snapshot: { site: name, releases: ['bookworm'], bundles: ['mpi'], hosts: [{ host: 'h1', freeMemory: 320 * nodes, freeDisk: 100000, vcpus: 4 }] },
    ...more,
  });
  const ask = (more: Partial<Demand> = {}): Demand => ({ count: 4, minCount: 4, memory: 320, disk: 1600, vcpus: 1, os: 'bookworm', bundles: [], sites: [], placement: 'pack', onFailure: 'all', ...more });
  t.same(schedule(ask(), [site('alpha', 3), site('beta', 5)]), [{ site: 'beta', nodes: 4 }], 'one site if one can');
  t.same(schedule(ask({ placement: 'spread' }), [site('alpha', 8), site('beta', 5)]), [{ site: 'alpha', nodes: 2 }, { site: 'beta', nodes: 2 }]);
  t.same(schedule(ask({ sites: ['beta', 'alpha'] }), [site('alpha', 8), site('beta', 5)]), [{ site: 'beta', nodes: 4 }], 'preference');
  t.same(schedule(ask({ count: 6, minCount: 6 }), [site('alpha', 4), site('beta', 4), site('gamma', 1)]), [{ site: 'alpha', nodes: 4 }, { site: 'beta', nodes: 2 }]);
  t.same(schedule(ask({ onFailure: 'minimum', minCount: 2 }), [site('alpha', 3)]), [{ site: 'alpha', nodes: 3 }], 'fewer, where fewer will do');
  t.same(schedule(ask(), [site('alpha', 9, { state: 'draining' }), site('beta', 9)]), [{ site: 'beta', nodes: 4 }], 'a draining site is left out');
  t.same(schedule(ask({ vcpus: 8 }), [site('alpha', 100)]), [{ site: 'alpha', nodes: 4 }], 'processors are overcommitted');
  const refused = (demandMore: Partial<Demand>, sites: readonly KnownSite[]): Error => {
    try {
      schedule(ask(demandMore), sites);
    } catch (error) {
      return error as Error;
    }
    throw new Error('was not refused');
  };
  t.match(refused({}, [site('alpha', 2), site('beta', 1)]), { kind: 'no-capacity', message: /asked: 4 nodes of 320 MiB.*room for 3\..*alpha: 2 such nodes.*beta: 1 such/ });
  t.match(refused({ sites: ['gamma'] }, [site('alpha', 2)]), { kind: 'bad-request', message: /no site "gamma"/, hint: /alpha/ });
  const { snapshot: _none, ...silent } = site('alpha', 9);
  t.match(refused({ sites: ['alpha'] }, [silent]), { kind: 'unavailable', message: /alpha does not answer/ });
  t.match(refused({}, [silent]), { kind: 'no-capacity', message: /alpha: does not answer/ });
  t.match(refused({ sites: ['alpha'] }, [site('alpha', 9, { state: 'closed' })]), { kind: 'wrong-state', message: /alpha is closed/ });
  t.match(refused({ os: 'trixie' }, [site('alpha', 9)]), { kind: 'no-capacity', message: /has no trixie, only bookworm/ });
  t.match(refused({}, []), { kind: 'no-capacity', message: /no site is open/ });
});
