/** The request, from RSL text or XML elements to a ClusterRequest: grammar, rules, messages, limits. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { fromElements } from '../gatekeeper/request/from-elements.js';
import { fromRsl } from '../gatekeeper/request/from-rsl.js';
import { toRsl } from '../gatekeeper/request/to-rsl.js';
import { GridError, isGridError } from '../src/domain/error.js';
import { didYouMean, nearest } from '../src/domain/nearest.js';
import { checkRequest, defaultRequestLimits, requestAttributes } from '../src/domain/request-check.js';
import type { ClusterRequest, RequestFile } from '../src/domain/request.js';
import { parseRsl } from '../src/rsl/parse.js';
import { printRsl } from '../src/rsl/print.js';
import { rslLimits, type RslNode, type RslValue } from '../src/rsl/tree.js';

const ofRsl = (text: string): ClusterRequest => checkRequest(fromRsl(text));
const ofElements = (elements: Record<string, unknown>): ClusterRequest => checkRequest(fromElements(elements));

/** "kind: message; hint" of the refusal. */
function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isGridError(error)) return `${error.kind}: ${error.message}; ${error.hint ?? ''}`;
    throw error;
  }
  return 'accepted';
}

t.test('the example of the design', async (t) => {
  t.same(ofRsl('&(count=4)(bundles=c-dev mpi)(memory=320)(disk=1600)(max_wall_time=60)'), {
    count: 4, minCount: 4, memory: 320, disk: 1600, vcpus: 1, os: 'bookworm', packages: [], bundles: ['c-dev', 'mpi'], files: [],
    lifetime: 60, sites: [], placement: 'pack', onFailure: 'all', sshKeys: [], exact: false,
  });
  t.same(ofRsl('(* a comment *) & ( "COUNT" = "2" )(MinCount=1)\n(packages=g++ "libstdc++6" \'gcc\')'), ofElements({ count: 2, minCount: '1', package: ['g++', 'libstdc++6', 'gcc'] }));
  t.same(ofRsl('(count=1)'), ofElements({ count: '1' }), 'bare relations');
  t.equal(ofRsl('&(count=3)(min_count=2)').onFailure, 'minimum');
  t.match(ofRsl('&(count=3)(on_failure=any)'), { minCount: 1, onFailure: 'any' });
});

t.test('RSL: quotes, comments, variables, sequences', async (t) => {
  const values = (text: string): unknown => {
    const node = parseRsl(`&(a=${text})`);
    return node.kind === 'boolean' && node.children[0]?.kind === 'relation' ? node.children[0].values : undefined;
  };
  const literals = (...texts: readonly string[]): unknown => texts.map((text) => ({ kind: 'literal', text }));
  t.same(values(`'it''s' "say ""hi""" ^%any ' " sign%`), literals("it's", 'say "hi"', `any ' " sign`));
  t.same(values('"a(* no comment *)b"(* one *) c'), literals('a(* no comment *)b', 'c'));
  t.same(values('x"y"'), literals('x', 'y'));
  t.match(values('(NAME (a b)) ( )'), [{ kind: 'sequence', values: [{ text: 'NAME' }, { kind: 'sequence' }] }, { kind: 'sequence', values: [] }]);
  t.equal(ofRsl('&(rsl_substitution=(R book)(N $(R) # worm))(count=1)(os=$(N))').os, 'bookworm');
  t.equal(ofRsl('&(rsl_substitution=(R book))(count=1)(os=$(R)worm)').os, 'bookworm', 'joined by standing beside it');
  t.equal(ofRsl('&(count=1)(os=$(NONE "bookworm"))').os, 'bookworm', 'a default');
  t.match(refusal(() => ofRsl('&(count=1)\n(os=$(HOME))')), /bad-request: RSL line 2, column 5: the variable "HOME" is not defined/);
  const double = Array.from({ length: 30 }, (_, i) => `(A${i + 1} $(A${i})#$(A${i}))`).join('');
  t.match(refusal(() => ofRsl(`&(rsl_substitution=(A0 xxxxxxxxxx)${double})(count=1)`)), /grows beyond/, 'variables that double');
});

t.test('malformed RSL says where', async (t) => {
  const cases: readonly [string, RegExp][] = [
    ['', /line 1, column 1: the text is empty/],
    ['   ', /the text is empty/],
    ['count=2', /line 1, column 1: expected &, \|, \+ or \(/],
    ['&', /expected \( after &, found the end/],
    ['&(count=2', /line 1, column 2: this \( is not closed/],
    ['&(count=2)\n  (memory 320)', /line 2, column 11: expected = after "memory", found "320\)"/],
    ['&(count=2))', /column 11: "\)" after the end/],
    ['&(count="2)', /the quote " is not closed/],
    ['&(count=2)(* open', /comment \(\* is not closed/],
    ['&(=2)', /expected the name of an attribute/],
    ['&(a=b & c)', /expected a value, found "& c\)"/],
    ['&(count>2)', /count is compared by >/],
    ['+(&(count=1))(&(count=2))', /several parts \(\+\) are not supported/],
    ['|(count=1)(count=2)', /alternatives \(\|\) are not supported/],
    ['&(count=1)(Count=2)', /column 12: Count is given twice/],
    ['&(count=1)(files=/etc/motd)', /malformed file; a file is \("\/path" upload ID\)/],
    [`&(a=${'('.repeat(40)}`, /nested deeper than 32/],
    [`&(a=${'$(x '.repeat(40)}`, /nested deeper than 32/],
    [`${'&('.repeat(40)}`, /nested deeper than 32/],
    [`&(a="${'x'.repeat(rslLimits.characters)}")`, /too-large: .*at most 65536/],
  ];
  for (const [text, expected] of cases) t.match(refusal(() => ofRsl(text)), expected, text.slice(0, 30));
});

t.test('rules and messages', async (t) => {
  const cases: readonly [Record<string, unknown>, RegExp][] = [
    [{}, /count is missing/],
    [{ count: 0 }, /bad-request: count is 0; allowed: whole numbers from 1 to 1000 \(nodes\)/],
    [{ count: 1e9 }, /count is 1000000000; allowed: whole numbers from 1 to 1000/],
    [{ count: '9'.repeat(400) }, /allowed: whole numbers from 1 to 1000/],
    [{ count: -1 }, /not a whole number/],
    [{ count: '2.5' }, /not a whole number/],
    [{ count: ['1', '2'] }, /count takes one value, it has 2/],
    [{ count: 2, minCount: 3 }, /min_count is 3, more than count, which is 2/],
    [{ count: 2, minCount: 1, onFailure: 'all' }, /contradicts on_failure=all/],
    [{ count: 3, minCount: 2, onFailure: 'any' }, /contradicts on_failure=any/],
    [{ count: 3, onFailure: 'minimum' }, /needs min_count/],
    [{ count: 1, onFailure: 'al' }, /on_failure is "al"; allowed: all, minimum, any; did you mean all/],
    [{ count: 1, memori: 320 }, /"memori" is not an attribute of a request; did you mean memory/],
    [{ count: 1, zzzzzz: 1 }, /known: count, min_count, memory/],
    [{ count: 1, executable: '/bin/date' }, /executable is an attribute of jobs, not of clusters/],
    [{ count: 1, memory: 63 }, /memory is 63; .* 64 to 1048576 \(MiB\)/],
    [{ count: 1, disk: 16777217 }, /64 to 16777216/],
    [{ count: 1, vcpus: 257 }, /1 to 256/],
    [{ count: 1, lifetime: 10081 }, /max_wall_time is 10081; .* 1 to 10080 \(minutes\)/],
    [{ count: 1, lifetime: 5, max_wall_time: 6 }, /max_wall_time is given twice/],
    [{ count: 1, package: ['gcc', 'gcc'] }, /packages holds "gcc" twice/],
    [{ count: 1, package: 'gcc; rm -rf /' }, /packages: "gcc; rm -rf \/" is not a valid package name/],
    [{ count: 1, package: '-oDebug=1' }, /not a valid package name/],
    [{ count: 1, bundle: 'a b' }, /bundles: /],
    [{ count: 1, os: '../sid' }, /os: /],
    [{ count: 1, site: 'UP' }, /sites: /],
    [{ count: 1, sshKey: 'ssh-ed25519 AAAA\ncommand=x' }, /ssh_key: /],
    [{ count: 1, package: Array.from({ length: 501 }, (_, i) => `p${i}`) }, /packages has 501 values; at most 500/],
    [{ count: 1, package: { $: 'x' } }, /<package> must hold text only/],
    [{ count: 1, file: 'x' }, /<file> must hold the elements/],
    [{ count: 1, file: { path: '/a', content: 'aGk=', owner: 'root' } }, /unknown element <owner>/],
    [{ count: 1, file: { content: 'aGk=' } }, /has no <path>/],
    [{ count: 1, file: { path: '/a/../b', content: '' } }, /files: .* is not a valid path name/],
    [{ count: 1, file: { path: '/proc/x', content: '' } }, /belong to the system/],
    [{ count: 1, file: { path: '/a' } }, /neither content nor an upload/],
    [{ count: 1, file: { path: '/a', content: '', upload: `u-${'0'.repeat(32)}` } }, /both content and an upload/],
    [{ count: 1, file: { path: '/a', content: '%%' } }, /not base64/],
    [{ count: 1, file: { path: '/a', content: '', mode: '0888' } }, /octal digits/],
    [{ count: 1, file: [{ path: '/a', content: '' }, { path: '/a', content: '' }] }, /\/a is given twice/],
    [{ count: 1, file: [{ path: '/a/b', content: '' }, { path: '/a', content: '' }] }, /\/a is given as a file, and \/a\/b needs it to be a directory/],
    [{ count: 1, file: { path: '/a', content: 'A'.repeat(1_500_000) } }, /too-large: .*at most 1048576/],
  ];
  for (const [elements, expected] of cases) t.match(refusal(() => ofElements(elements)), expected, JSON.stringify(elements).slice(0, 60));
  t.match(refusal(() => checkRequest(fromElements({ count: 20 }), { ...defaultRequestLimits, count: 10 })), /from 1 to 10 /, 'a limit of the site');
  for (const attribute of requestAttributes()) t.ok(attribute.meaning !== '' && attribute.default !== '', `help for ${attribute.name}`);
});

t.test('near names', async (t) => {
  t.same(nearest('opnempi', ['openmpi', 'libc6', 'openmpi-bin', 'open']), ['openmpi']);
  t.same(nearest('gc', ['gcc', 'g++', 'go']), ['gcc', 'go']);
  t.equal(didYouMean('xyzzy', ['gcc']), undefined);
  const many = Array.from({ length: 60_000 }, (_, index) => `lib${index.toString(36)}-dev`);
  const begun = performance.now();
  nearest('libabc-dve', many);
  t.ok(performance.now() - begun < 1_500, 'sixty thousand names');
});

// ---------------------------------------------------------------- properties

const name = (first: string, rest: string, most: number) => fc.tuple(fc.constantFrom(...first), fc.string({ unit: fc.constantFrom(...rest), maxLength: most })).map(([head, tail]) => head + tail);
const lower = 'abcdefghijklmnopqrstuvwxyz';
/** fast-check makes some records without a prototype; ours have one. */
const plainRecord = <T extends object>(parts: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> => fc.record(parts, { noNullPrototype: true }) as fc.Arbitrary<T>;
const list = (of: fc.Arbitrary<string>) => fc.uniqueArray(of, { maxLength: 4 });
const file: fc.Arbitrary<RequestFile> = plainRecord({
  path: fc.array(name(lower, `${lower}0123456789 ._+@,=:-`, 5), { minLength: 1, maxLength: 3 }).map((parts) => `/${parts.join('/')}`),
  mode: fc.integer({ min: 0, max: 0o7777 }),
  source: fc.oneof(
    fc.uint8Array({ maxLength: 20 }).map((bytes) => ({ kind: 'inline' as const, base64: Buffer.from(bytes).toString('base64') })),
    fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => ({ kind: 'upload' as const, id: `u-${Buffer.from(bytes).toString('hex')}` })),
  ),
});
const request: fc.Arbitrary<ClusterRequest> = plainRecord({
    count: fc.integer({ min: 1, max: 1000 }),
    minCount: fc.integer({ min: 1, max: 1000 }),
    memory: fc.integer({ min: 64, max: 1_048_576 }),
    disk: fc.integer({ min: 64, max: 16_777_216 }),
    vcpus: fc.integer({ min: 1, max: 256 }),
    os: name(lower, lower, 8),
    packages: list(name(lower, `${lower}0123456789+.-`, 8).map((text) => `${text}0`)),
    bundles: list(name(lower, `${lower}+.-`, 8)),
    files: fc.uniqueArray(file, { maxLength: 3, selector: ({ path }) => path.split('/')[1] }),
    lifetime: fc.integer({ min: 1, max: 10_080 }),
    sites: list(name(lower, `${lower}-`, 8)),
    placement: fc.constantFrom('pack' as const, 'spread' as const),
    onFailure: fc.constantFrom('all' as const, 'minimum' as const, 'any' as const),
    exact: fc.boolean(),
    sshKeys: list(fc.tuple(fc.uint8Array({ minLength: 24, maxLength: 24 }), fc.string({ maxLength: 10 })).map(([key, comment]) => `ssh-ed25519 ${Buffer.from(key).toString('base64')} x${comment.replace(/[^\x20-\x7e]/g, '')}x`)),
  })
  .map((each) => ({ ...each, minCount: each.onFailure === 'all' ? each.count : each.onFailure === 'any' ? 1 : Math.min(each.minCount, each.count) }));

/** A request as the elements of an XML document. */
function elementsOf(from: ClusterRequest): Record<string, unknown> {
  const { packages, bundles, sites, sshKeys, files, minCount, exact, ...rest } = from;
  return {
    ...rest,
    ...(exact ? { exact: 'yes' } : {}),
    ...(from.onFailure === 'minimum' ? { minCount } : {}),
    package: packages,
    bundle: bundles,
    site: sites,
    sshKey: sshKeys,
    file: files.map(({ path, mode, source }) => ({ path, mode: mode.toString(8).padStart(4, '0'), ...(source.kind === 'inline' ? { content: source.base64 } : { upload: source.id }) })),
  };
}

t.test('a request as RSL and as elements is the same request', async (t) => {
  fc.assert(
    fc.property(request, (wanted) => {
      assert.deepEqual(ofRsl(toRsl(wanted)), wanted);
      assert.deepEqual(ofElements(elementsOf(wanted)), wanted);
    }),
    { numRuns: 300 },
  );
  t.pass('300 requests');
});

const literal = fc.string({ maxLength: 12, unit: 'binary' }).map((text): RslValue => ({ kind: 'literal', text }));
const { value } = fc.letrec<{ value: RslValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    literal,
    fc.array(tie('value'), { maxLength: 3 }).map((values): RslValue => ({ kind: 'sequence', values })),
    fc.tuple(literal, fc.string({ minLength: 1, maxLength: 5 })).map(([before, variable]): RslValue => ({ kind: 'concatenation', parts: [before, { kind: 'variable', name: variable, at: 0 }] })),
  ),
}));
const tree: fc.Arbitrary<RslNode> = fc
  .array(fc.record({ kind: fc.constant('relation' as const), attribute: fc.string({ minLength: 1, maxLength: 8 }), operator: fc.constantFrom('=' as const, '!=' as const, '<=' as const), values: fc.array(value, { maxLength: 3 }), at: fc.constant(0) }), { minLength: 1, maxLength: 4 })
  .map((children) => ({ kind: 'boolean', operator: '&', children, at: 0 }));

t.test('RSL: what is printed is read back; noise is refused; time is linear', async (t) => {
  const withoutPlaces = (node: unknown): string => JSON.stringify(node, (key, each: unknown) => (key === 'at' ? undefined : each));
  fc.assert(fc.property(tree, (node) => withoutPlaces(parseRsl(printRsl(node))) === withoutPlaces(node)), { numRuns: 300 });
  const noise = fc.oneof(fc.string({ maxLength: 200, unit: 'binary' }), fc.string({ maxLength: 200, unit: fc.constantFrom(...'&|+()="\'^#$<>!*ab \n') }));
  fc.assert(
    fc.property(noise, (text) => {
      try {
        ofRsl(text);
        ofRsl(`&(${text})`);
      } catch (error) {
        if (!(error instanceof GridError)) throw error;
      }
    }),
    { numRuns: 1_000 },
  );
  const begun = performance.now();
  const most = rslLimits.characters - 10;
  for (const unit of ['(', ')', '"', '""', "'", '^', '(*', '(* *)', '$', '$(', '#', 'a', 'a ', 'a#', '(a=b)', ' ', '\n', '+', '&(', '=']) {
    for (const start of ['', '&(a=', '&(a="']) refusal(() => fromRsl(start + unit.repeat(Math.floor(most / unit.length))));
  }
  const spent = performance.now() - begun;
  t.ok(spent < 2_000, `sixty texts of 64 KiB in ${spent.toFixed(0)} ms`);
  const started = performance.now();
  for (let i = 0; i < 500; i++) ofRsl('&(count=4)(bundles=c-dev mpi)(memory=320)(disk=1600)(max_wall_time=60)');
  t.ok((performance.now() - started) / 500 < 2, 'a request is read in well under 2 ms');
});
