/**
 * The channel of a head's administrator: wsdl/admin.wsdl over TLS, what `gridvc image` and `gridvc estimate` make of it, and both on a real
 * head (its own process, real apt and dpkg). Also the plots and pages of the benches, which show the same figures.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import pino from 'pino';
import t from 'tap';
import { HeadClient } from '../gatekeeper/head-client.js';
import { makeIdentities } from '../src/cli/grid/authority.js';
import { writeConfigs } from '../src/cli/grid/config.js';
import { awaitDaemon, startDaemon, stopProcess } from '../src/cli/grid/daemons.js';
import { gridLayout } from '../src/cli/grid/layout.js';
import { dropNetworks, raiseNetworks } from '../src/cli/grid/network.js';
import { explanationText } from '../src/cli/estimates.js';
import { findHead } from '../src/cli/head-admin.js';
import { Releases } from '../src/cli/releases.js';
import { planText } from '../src/cli/stage-table.js';
import type { EstimateExplanation, EstimateReport } from '../src/domain/admin-views.js';
import { GridError } from '../src/domain/error.js';
import { asPlanned, judgeModels, type Judged } from '../src/domain/estimate/report.js';
import { coldSite, learn } from '../src/domain/estimate/site.js';
import { serveHead } from '../src/head/soap.js';
import { makeLog } from '../src/log.js';
import { issueCertificate, issueProxy, makeAuthority, makeKey } from '../src/pki/issue.js';
import type { HeadAdmin, HeadService, StoredImage } from '../src/ports.js';
import { SoapClient } from '../src/soap/client.js';
import { services } from '../src/soap/contract.js';
import { HttpsClient } from '../src/soap/https-client.js';
import { startPostgres } from '../src/store/embedded.js';
import { withSection } from './bench/docs-section.js';
import { configurations, nodeCounts } from './bench/paper/figures.js';
import { modes, type Measured } from './bench/paper/measure.js';
import { paperChart, paperSection } from './bench/paper/page.js';
import { colours, scatter, stackedBars } from './bench/svg.js';
import { gridvc, testHome, whyNoGrid } from './support/grid.js';
import { partSpec } from './support/part-spec.js';

// ---------------------------------------------------------------- the wire

const odd = 'a < b & "c" é\nline';
const image: StoredImage = { name: 'c3', kind: 'cache', os: 'bookworm', packages: 3, bytes: 2 ** 40, uses: 1, made: '2025-01-02T03:04:05Z', lastUsed: '2025-01-02T03:04:06Z', value: 14.25, state: 'fresh', inUse: true };
const details = { ...image, layers: [{ digest: 'ff', kind: 'base' as const, bytes: 1 }], contents: ['gcc=4:12<2'] };
const collected = { removed: [{ what: 'image d1', where: 'head', bytes: 5, reason: odd }], bytes: 5 };
const report: EstimateReport = { site: 'alpha', clusters: 2, models: [{ stage: 'install', model: 'M3', used: true, why: odd, count: 2, meanError: 0.1, p90Error: 0.2, worstError: 1e-7, bias: -0.5, meanSeconds: 1.25, inside: 1 }] };
const explanation: EstimateExplanation = {
  site: 'alpha', cluster: 'k3x9q2ab', state: 'ready', nodes: 4, created: '2025-01-02T03:04:05Z', reason: odd, predicted: 12.5, readyAfter: 3.5,
  stages: [{ stage: 'install', model: 'M3', predicted: 1, low: 0.5, high: 2, measured: 1.5, bytes: 10, items: 3, others: [{ model: 'M0', predicted: 4 }] }, { stage: 'join', bytes: 0, items: 4, others: [] }],
  slowest: [{ package: 'gcc', version: '12', seconds: 0.5 }],
};
const built: unknown[] = [];
const admin = {
  site: 'alpha',
  images: { images: async () => [image], image: async () => details, build: async (asked: object) => (built.push(asked), image), collect: async () => collected },
  estimates: {
    report: async () => report,
    explain: async (cluster: string) => {
      if (cluster === 'missing1') throw new GridError('not-found', 'site alpha never had a part of cluster missing1');
      return explanation;
    },
  },
} as unknown as HeadAdmin;

t.test('every operation goes there and back; only administrators may call', async (t) => {
  const authority = await makeAuthority({ subject: '/O=Grid/CN=Admin CA', days: 2 });
  const notAfter = new Date(Date.now() + 3_600_000);
  const identity = async (subject: string, usage: 'host' | 'user'): Promise<{ cert: string; key: string }> => {
    const { key, publicKey } = await makeKey('ec');
    return { cert: (await issueCertificate({ issuer: authority, subject, publicKey, notAfter, usage, ...(usage === 'host' ? { dnsNames: ['localhost'] } : {}) })).certificate, key };
  };
  const subjectOf = (socket: TLSSocket): string => `/O=Grid/CN=${socket.getPeerCertificate().subject.CN}`; // the validator has its own tests
  const host = await identity('/O=Grid/CN=head', 'host');
  const server = await serveHead({
    host: '127.0.0.1', port: 0, tls: { ...host, requestCert: true, rejectUnauthorized: false }, subjectOf, gatekeeper: '/O=Grid/CN=gate', service: {} as HeadService, admin,
    administrators: ['/O=Grid/CN=head', '/O=Grid/CN=Alice'], log: pino({ level: 'silent' }),
  });
  t.teardown(() => server.close(0));
  const as = async (name: string): Promise<SoapClient<(typeof services)['admin']['operations']>> => {
    const http = new HttpsClient({ url: `https://localhost:${server.port}`, tls: { ca: [authority.certificate], ...(name === 'head' ? host : await identity(`/O=Grid/CN=${name}`, 'user')) } });
    t.teardown(() => http.close());
    return new SoapClient(services.admin, http);
  };
  const alice = await as('Alice');
  t.same(await alice.call('listImages', {}), { site: 'alpha', images: [image] });
  t.same(await alice.call('showImage', { name: 'c3' }), { site: 'alpha', image: details });
  t.same(await alice.call('buildImage', { os: 'bookworm', packages: ['gcc'], bundles: [] }), { site: 'alpha', image });
  t.same(built, [{ os: 'bookworm', packages: ['gcc'], bundles: [] }]);
  await t.rejects(alice.call('buildImage', { os: 'bookworm', packages: ['gcc; reboot'], bundles: [] }), { kind: 'bad-request', message: /gcc; reboot/ });
  await t.rejects(alice.call('buildImage', { os: 'bookworm', packages: [], bundles: [] }), { kind: 'bad-request', message: /of which packages/ });
  t.equal(built.length, 1, 'what is refused reaches no service');
  t.same(await alice.call('collectImages', {}), { site: 'alpha', collected });
  t.same(await alice.call('reportEstimates', {}), { report });
  t.same(await alice.call('explainEstimate', { cluster: 'k3x9q2ab' }), { explanation });
  await t.rejects(alice.call('explainEstimate', { cluster: 'missing1' }), { kind: 'not-found', message: /missing1/ });
  t.same((await (await as('head')).call('listImages', {})).images, [image], 'root on the head machine');
  for (const other of ['gate', 'Mallory']) await t.rejects((await as(other)).call('listImages', {}), { kind: 'not-authorized', message: `/O=Grid/CN=${other} is no administrator of this head` });
});

// ---------------------------------------------------------------- what people read

t.test('a report: errors of each model, the one that is used and why', async (t) => {
  const word = (model: string, seconds: number, measured: number, chosen = false): Judged => ({ cluster: `c${measured}`, stage: 'install', model, chosen, seconds, low: seconds / 2, high: seconds * 2, measured });
  const judged = [word('M0', 20, 10), word('M0', 30, 10), word('M3', 11, 10, true), word('M3', 18, 20, true), { ...word('line', 0.05, 0.01, true), stage: 'resolve' as const }];
  const models = learn(coldSite, { stage: 'resolve', bytes: 0, items: 1, seconds: 0.01 });
  const found = judgeModels('alpha', judged, models);
  t.same(found.models.map(({ stage, model }) => `${stage} ${model}`), ['resolve line', 'install M0', 'install M3', `install ${asPlanned}`]);
  const [resolve, m0, m3, planned] = found.models;
  t.match(m0, { count: 2, meanError: 1.5, worstError: 2, bias: 1.5, meanSeconds: 15, inside: 0.5, used: false });
  t.match({ ...m3, meanError: m3?.meanError.toFixed(3) }, { count: 2, meanError: '0.100', inside: 1 });
  t.equal(planned?.count, 2);
  t.ok((resolve?.meanError ?? 1) < 0.5, 'ten milliseconds are no disaster');
  t.match(resolve, { used: true, why: /the last 1 measurement of this site/ });
  t.same(judgeModels('alpha', [], coldSite), { site: 'alpha', clusters: 0, models: [] });
});

t.test('explain and plan: each stage, and what else could have been', async (t) => {
  const text = explanationText(explanation);
  t.match(text, /install +M3 +1\.0 s +0\.5 to 2\.0 +1\.5 s +-33 % +0\.0 +3 +M0 4\.0/);
  t.match(text, /ready 3\.5 s after it was asked/);
  t.match(text, /gcc +12 +0\.50/);
  const alternatives = [{ name: 'cache image c3', predicted: 4.25, chosen: true }, { name: 'base image', predicted: 17.5, chosen: false }];
  const plan = { site: 'alpha', nodes: 4, stages: [{ stage: 'launch' as const, predicted: 1, bytes: 0, items: 4 }], predicted: 4.25, reason: 'cache image c3: saves 14.2 s of install, costs 0.8 s of transfer', alternatives };
  const shown = planText({ predictedSeconds: 4.25, sites: [plan] });
  t.match(shown, /alpha: 4 nodes; cache image c3: saves 14\.2 s of install/);
  t.match(shown, /alternatives at alpha +predicted\ncache image c3 +4\.3 s +chosen\nbase image +17\.5 s/);
  t.notMatch(planText({ predictedSeconds: 4.25, sites: [{ ...plan, alternatives: alternatives.slice(0, 1) }] }), /alternatives/, 'no choice, nothing to say');
});

t.test('which head: contradictions and what is not there are refused with the way out', async (t) => {
  const nowhere = { variables: { GRIDVC_HOME: '/nonexistent' }, uid: 0, homeDirectory: '/nonexistent' };
  t.throws(() => findHead({ head: '/a', site: 'alpha' }, nowhere), { message: /different heads/ });
  t.throws(() => findHead({ site: 'alpha' }, nowhere), { message: /no embedded grid is here/ });
  t.throws(() => findHead({}, nowhere), { message: /\/etc\/gridvc\/head.yaml/  });
  t.throws(() => findHead({ headUrl: 'http://x' }, nowhere), { message: /not an https URL/ });
});

// ---------------------------------------------------------------- plots and pages

t.test('plots are well-formed SVG, with every text escaped', async (t) => {
  const dots = scatter({ title: 'a < b', x: 'measured', y: 'said', band: 0.1, series: [{ name: 'M3 & co', colour: colours.blue, mark: 'dot', points: [{ x: 3, y: 4 }, { x: 50, y: 40 }] }, { name: 'paper', colour: colours.red, mark: 'cross', points: [{ x: 26.7, y: 25.7 }] }] });
  t.match(dots, /<text[^>]*>a &lt; b<\/text>/);
  t.match(dots, /M3 &amp; co/);
  t.equal(dots.match(/<circle /g)?.length, 3, 'two dots and the legend');
  t.throws(() => scatter({ title: '', x: '', y: '', series: [{ name: '', colour: '', mark: 'dot', points: [{ x: 0, y: 1 }] }] }), RangeError);
  const bars = stackedBars({ title: 't', y: 's', parts: [{ name: 'a', colour: 'red' }, { name: 'b', colour: 'blue' }], groups: [{ label: 'g', bars: [{ label: 'x', values: [1, 2] }, { label: 'y', values: [0, 4] }] }] });
  t.equal(bars.match(/<title>/g)?.length, 3, 'nothing is drawn for nothing');
  t.notMatch(dots + bars, /NaN|Infinity|undefined/);
});

t.test('the page of the paper: a row for each configuration and node count, and the gain', async (t) => {
  const row = (configuration: Measured['configuration'], nodes: Measured['nodes'], mode: Measured['mode'], n: number): Measured => ({ configuration, nodes, mode, ready: 30 / (1 + n), predicted: 28, stages: { distribute: { predicted: 1, measured: 1.1 }, ...(n < 2 ? { install: { predicted: 10, measured: 12.5 } } : {}) }, reason: '' });
  const rows = configurations.flatMap(({ name }) => nodeCounts.flatMap((nodes) => modes.map((mode, n) => row(name, nodes, mode, n))));
  const page = paperSection(rows, 'a machine');
  t.match(page, /\| conf\. 2 \| 16 \| 58 \/ 54\.8 \| 10\.00 \/ 12\.50 \| 35\.6 \/ 24\.4 \| 10\.00 \/ 12\.50 \| - \|/);
  t.match(page, /\| conf\. 1 \| 16 \| 103 → 73 \(1\.4 times\) \| 30\.0 \(said 28\.0\) \| 15\.0 \(said 28\.0; 2\.0 times\)/);
  t.notMatch(paperChart(rows) + page, /NaN|undefined/);
  t.equal(withSection('a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb', 'x', 'new'), 'a\n<!-- x: begin -->\n\nnew\n\n<!-- x: end -->\nb');
  t.throws(() => withSection('nothing', 'x', 'new'), /no section/);
});

// ---------------------------------------------------------------- a real head

const why = whyNoGrid();
t.test('a real head and the real command', { skip: why ?? false, timeout: 900_000 }, async (t) => {
  const layout = gridLayout(`${testHome}-head`, ['alpha']);
  const [site] = layout.sites;
  if (site === undefined) throw new Error('no site');
  for (const dir of [layout.dir, join(layout.dir, 'run'), join(layout.dir, 'log'), layout.trust, layout.gatekeeper.home, site.home]) mkdirSync(dir, { recursive: true, mode: 0o711 });
  const user = '/O=Grid/OU=gridvc/CN=tester';
  await makeIdentities(layout, user);
  t.teardown(() => dropNetworks(layout));
  await raiseNetworks(layout, new Releases());
  const postgres = await startPostgres({ home: layout.dir, log: makeLog('test', 'error') });
  t.teardown(() => postgres.stop());
  writeConfigs(layout, { version: 1, user, account: 'tester', sites: ['alpha'] }, { database: (name) => postgres.url(name), memory: 4000 });
  t.teardown(() => stopProcess(site, 10));
  await startDaemon(site);
  await awaitDaemon(site, new AbortController().signal);
  const gatekeeper = new HeadClient({ url: site.url, tls: { ca: [readFileSync(layout.authority.certificate, 'utf8')], cert: readFileSync(layout.gatekeeper.certificate, 'utf8'), key: readFileSync(layout.gatekeeper.key, 'utf8') } });
  t.teardown(() => gatekeeper.close());
  const asRoot = async (...words: string[]): Promise<Record<string, unknown>> => {
    const ran = await gridvc([...words, '--head', site.config, '--json'], { seconds: 600 });
    if (ran.code !== 0) throw new Error(`${words.join(' ')}: ${ran.stderr}`);
    return JSON.parse(ran.stdout) as Record<string, unknown>;
  };
  const asUser = (who: { certificate: string; key: string }, ...words: string[]) => gridvc([...words, '--head-url', site.url], { env: { X509_USER_CERT: who.certificate, X509_USER_KEY: who.key, X509_CERT_DIR: layout.trust, X509_USER_PROXY: '' } });
  await gatekeeper.plan({ memory: 128, disk: 400, vcpus: 1, os: 'bookworm', packages: ['hello'], bundles: [] }, 1); // the base is there now

  await t.test('who may', async (t) => {
    t.match(await asUser(layout.user, 'image', 'list'), { code: 0, stdout: /^name +kind/ }, 'a listed administrator');
    t.match(await asUser(layout.gatekeeper, 'image', 'list'), { code: 1, stderr: /gatekeeper is no administrator of this head[^]*hint: .*"administrators"/ });
    const limited = join(layout.dir, 'limited.pem');
    const proxy = await issueProxy({ issuer: { certificate: readFileSync(layout.user.certificate, 'utf8'), key: readFileSync(layout.user.key, 'utf8') }, notAfter: new Date(Date.now() + 600_000), limited: true });
    (await import('../src/cli/files.js')).writeWhole(limited, `${proxy.chain}${proxy.key ?? ''}`);
    t.match(await asUser({ certificate: limited, key: limited }, 'estimate', 'report'), { code: 1, stderr: /a limited proxy of .*CN=tester may not command a head/ });
  });

  await t.test('image build, list, show, gc', async (t) => {
    const { image: made } = (await idle(() => asRoot('image', 'build', '--package', 'hello'))) as { image: StoredImage };
    t.match(made, { os: 'bookworm', state: 'fresh' });
    t.match(await asRoot('image', 'build', '--package', 'hello'), { image: { name: made.name } }, 'one that holds it is there');
    const { images } = (await asRoot('image', 'list')) as { images: StoredImage[] };
    t.ok(images.some(({ name }) => name === made.name) && images.some(({ kind }) => kind === 'base'));
    t.ok(((await asRoot('image', 'show', made.name)) as { contents: string[] }).contents.some((entry) => entry.startsWith('hello=')));
    t.match(await gridvc(['image', 'show', 'c99999', '--head', site.config]), { code: 3, stderr: /holds no image "c99999"[^]*hint/ });
    t.match(await gridvc(['image', 'build', '--package', 'helo', '--head', site.config]), { code: 1, stderr: /helo[^]*hint: .*hello/ });
    t.ok(Array.isArray((await asRoot('image', 'gc'))['removed']));
  });

  await t.test('a part brought up: explained stage by stage, and in the report', async (t) => {
    const cluster = `adm${Math.floor(Math.random() * 36 ** 5).toString(36).padStart(5, '0')}`;
    await gatekeeper.createPart(partSpec(cluster, 2, ['hello']));
    for (let left = 600; left > 0 && !['joining', 'failed'].includes((await gatekeeper.getPart(cluster)).state); left--) await pause(200);
    await gatekeeper.confirmPart(cluster, [{ stage: 'join', seconds: 1, bytes: 0, items: 2 }], ['n1', 'n2']);
    const explained = (await asRoot('estimate', 'explain', cluster)) as unknown as EstimateExplanation;
    t.match(explained, { site: 'alpha', cluster, state: 'ready', nodes: 2 });
    t.match(explained.stages.find(({ stage }) => stage === 'launch'), { items: 2, predicted: Number, low: Number, high: Number, measured: Number });
    t.match(explained.reason, /image/);
    t.ok((explained.readyAfter ?? 0) > 0);
    t.match(await gridvc(['estimate', 'explain', 'neverwas', '--head', site.config]), { code: 3, stderr: /never had a part of cluster neverwas/ });
    t.match(await asRoot('estimate', 'report'), { site: 'alpha', models: [{ count: Number }] });
    t.match((await gridvc(['estimate', 'report', '--head', site.config])).stdout, /stage +model +n[^]*launch +line[^]*used, and why:/);
    await gatekeeper.destroyPart(cluster);
    for (let left = 150; left > 0 && (await gatekeeper.getPart(cluster)).state !== 'destroyed'; left--) await pause(200);
  });
});

/** Idle work is refused while a request is at work; the head says so, and one asks again. */
async function idle<T>(work: () => Promise<T>): Promise<T> {
  for (let left = 60; ; left--) {
    try {
      return await work();
    } catch (error) {
      if (left === 0 || !/at work on this head/.test((error as Error).message)) throw error;
      await pause(500);
    }
  }
}
