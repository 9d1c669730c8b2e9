/** The pure core: rules and decisions of src/domain, as examples. */
import t from 'tap';
import fc from 'fast-check';
import { assignHosts, freeAddresses, roomFor } from '../src/domain/capacity.js';
import { coldSite } from '../src/domain/estimate/site.js';
import { GridError } from '../src/domain/error.js';
import { checkTransition, clusterStates, isFinal } from '../src/domain/lifecycle.js';
import { isName } from '../src/domain/names.js';
import { planSite } from '../src/domain/plan-site.js';
import { parseHeadConfig } from '../src/head/config.js';
import { parseQueries } from '../src/store/queries.js';

const MiB = 1024 * 1024;
const host = (name: string, freeMemory: number): { host: string; freeMemory: number; freeDisk: number; vcpus: number } => ({ host: name, freeMemory, freeDisk: 100_000, vcpus: 8 });

t.test('a cluster goes up through its states, and a wrong step names both', async (t) => {
  checkTransition('cluster c', 'accepted', 'building');
  t.throws(() => checkTransition('cluster c', 'destroyed', 'ready'), { message: 'cluster c is destroyed and cannot become ready' });
  for (const state of clusterStates) if (!isFinal(state)) checkTransition('c', state, state === 'destroying' ? 'destroyed' : 'destroying');
});

t.test('nodes go to the host with most room, and no room says what was asked and what is free', async (t) => {
  const size = { memory: 300, disk: 1000, vcpus: 1 };
  t.same(assignHosts(3, size, [host('a', 900), host('b', 600)]), ['a', 'a', 'b']);
  t.throws(() => assignHosts(4, size, [host('a', 900)]), { kind: 'no-capacity', message: /asked 4 nodes of 300 MiB.*room for 3/, hint: /a 900 MiB/ });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 60 }), fc.array(fc.integer({ min: 0, max: 9000 }), { maxLength: 6 }), (count, memories) => {
      const hosts = memories.map((memory, i) => host(`h${i}`, memory));
      const room = new Map(hosts.map((h) => [h.host, roomFor(size, h)]));
      const total = [...room.values()].reduce((a, b) => a + b, 0);
      if (count > total) return assert(() => assignHosts(count, size, hosts), 'no-capacity');
      const assigned = count === 0 ? [] : assignHosts(count, size, hosts);
      return hosts.every((h) => assigned.filter((name) => name === h.host).length <= (room.get(h.host) ?? 0)) && assigned.length === count;
    }),
  );
});

t.test('addresses: the first free ones, refused when the range is used up', async (t) => {
  const range = { first: '10.0.0.254', last: '10.0.1.1' };
  t.same(freeAddresses(2, range, new Set(['10.0.0.255'])), ['10.0.0.254', '10.0.1.0']);
  t.throws(() => freeAddresses(5, range, new Set()), { message: /only 4 are free in 10.0.0.254 to 10.0.1.1/ });
});

t.test('a plan leaves out what the site has already', async (t) => {
  const resolution = { os: 'bookworm', asked: ['gcc'], packages: [{ name: 'gcc', version: '1', architecture: 'amd64', debBytes: 5 * MiB }], key: 'ab'.repeat(32) };
  const base = { digest: 'ba'.repeat(32), kind: 'base' as const, bytes: 100 * MiB };
  const whole = { name: 'd1', key: resolution.key, layers: [base], packages: new Map([['gcc', '1']]) };
  const work = { site: 'alpha', nodes: 4, hosts: 1, resolution, base, baseReady: true, images: [], exact: false, wire: () => 0, headLoad: 1, models: coldSite };
  const plan = (more: Partial<Parameters<typeof planSite>[0]>): string[] => planSite({ ...work, ...more }).plan.stages.map((s) => s.stage);
  t.same(plan({ baseReady: false }), ['resolve', 'base', 'download', 'install', 'pack', 'distribute', 'launch', 'join', 'verify']);
  t.same(plan({ images: [whole] }), ['resolve', 'distribute', 'launch', 'join', 'verify']);
});

t.test('names that may reach a command line', async (t) => {
  for (const good of ['gcc', 'libopenmpi-dev', 'g++', 'libc6:i386', 'hello=2.10-3']) t.ok(isName('package', good), good);
  for (const bad of ['-o=x', 'a b', 'gcc;id', '../x', 'x', 'Gcc', 'a\nb', '$(id)']) t.notOk(isName('package', bad), bad);
  for (const bad of ['/a/../b', '//a', 'a', '/', '/a/./b', "/a'b", '/a\nb']) t.notOk(isName('path', bad), bad);
  t.ok(isName('path', '/home/grid/input data.txt'));
});

t.test('configuration: unknown and missing settings are refused by name', async (t) => {
  t.throws(() => parseHeadConfig('site: alpha\nlistne: {}\n', 'head.yaml'), { kind: 'bad-request', message: /listne/ });
  t.throws(() => parseHeadConfig('site: [', 'head.yaml'), { message: /head.yaml is not YAML/ });
});

t.test('query files', async (t) => {
  t.same([...parseQueries('-- head\n\n-- :one\nselect 1;\n\n-- :two\n-- why\nselect 2\n')], [['one', 'select 1'], ['two', '-- why\nselect 2']]);
  t.throws(() => parseQueries('-- :a\nselect 1\n-- :a\nselect 2\n'), /twice/);
});

function assert(work: () => unknown, kind: string): boolean {
  try {
    work();
  } catch (error) {
    return error instanceof GridError && error.kind === kind;
  }
  return false;
}
