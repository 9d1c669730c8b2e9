/**
 * The SOAP contract over real TLS: our client and python3-zeep against our servers. Behind the servers stand
 * recording doubles of the ports, since the contract is what is tested here, not what the services do.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { connect } from 'node:tls';
import pino from 'pino';
import fc from 'fast-check';
import t from 'tap';
import { HeadClient } from '../gatekeeper/head-client.js';
import { serveGatekeeper } from '../gatekeeper/server.js';
import { diskUploads } from '../gatekeeper/uploads.js';
import { errorKinds, GridError, isGridError } from '../src/domain/error.js';
import type { PartSpec } from '../src/domain/node.js';
import type { RawRequest } from '../src/domain/request.js';
import type { AccessView, Caller, ClusterView, EventView, SiteView } from '../src/domain/views.js';
import { serveHead } from '../src/head/soap.js';
import { certificatesOf } from '../src/pki/pem.js';
import { issueCertificate, issueProxy, makeAuthority, makeKey } from '../src/pki/issue.js';
import type { ClusterService, DelegationService, HeadAdmin, HeadService, PartView, SiteService } from '../src/ports.js';
import { ClusterClient } from '../src/soap/client.js';
import { escapeXml, readXml } from '../src/soap/xml.js';
import { missing } from './support/debian-package.js';

// ---------------------------------------------------------------- a small world

const home = mkdtempSync(join(tmpdir(), 'gridvc-contract-'));
t.teardown(() => rmSync(home, { recursive: true, force: true }));
const logged: string[] = [];
const log = pino({ level: 'info' }, { write: (line: string) => void logged.push(line) });

const authority = await makeAuthority({ subject: '/O=Grid/CN=Contract CA', days: 2 });
const tomorrow = new Date(Date.now() + 86_400_000);
async function identity(subject: string, usage: 'host' | 'user'): Promise<{ cert: string; key: string }> {
  const { key, publicKey } = await makeKey('ec');
  const { certificate } = await issueCertificate({ issuer: authority, subject, publicKey, notAfter: tomorrow, usage, ...(usage === 'host' ? { dnsNames: ['localhost'], addresses: ['127.0.0.1'] } : {}) });
  return { cert: certificate, key };
}
const host = await identity('/O=Grid/CN=host/localhost', 'host');
const alice = await identity('/O=Grid/CN=Alice', 'user');
const proxy = await issueProxy({ issuer: { certificate: alice.cert, key: alice.key }, notAfter: tomorrow });
const tlsServer = { cert: host.cert, key: host.key, requestCert: true, rejectUnauthorized: false };
const ca = [authority.certificate];

/** Stands in for the validator, which has its own test: the last certificate's subject, without a check. */
function subjectOf(socket: TLSSocket): string {
  let certificate = socket.getPeerCertificate(true);
  if (!certificate.subject) throw new GridError('not-authenticated', 'no client certificate was sent', { hint: 'gridvc proxy init' });
  while (certificate.subject['CN']?.toString() && certificate.issuerCertificate?.subject && certificate.issuerCertificate !== certificate && !/CA$/.test(String(certificate.issuerCertificate.subject['CN']))) {
    certificate = certificate.issuerCertificate;
  }
  return `/O=${certificate.subject.O}/CN=${[certificate.subject.CN].flat()[0]}`;
}
let banned = false;
const authenticate = (socket: TLSSocket): Caller => {
  if (banned) throw new GridError('not-authorized', 'banned meanwhile');
  return callerOf(socket);
};
const callerOf = (socket: TLSSocket): Caller => ({ subject: subjectOf(socket), account: 'alice', roles: ['user'], issuer: '/O=Grid/CN=CA', fqans: [], vo: '', limited: false, notAfter: tomorrow.getTime(), certificateNotAfter: tomorrow.getTime() });

const odd = 'a < b & "c" > d \u00e9\u{1f600}\nline\ttwo\r\n  spaces  ';
const node = { name: 'n1', site: 'alpha', host: 'h1', overlayAddress: '10.128.0.2', state: 'ready' as const };
const view: ClusterView = {
  id: 'k3x9q2ab', owner: '/O=Grid/CN=Alice', state: 'joining', count: 2, ready: 1, created: '2025-01-02T03:04:05.678Z', expires: '2025-01-02T04:04:05Z',
  predictedSeconds: 12.5, stages: [{ site: 'alpha', stage: 'install', predicted: 0.25, done: true }, { site: 'alpha', stage: 'join', elapsed: 1e-7, done: false }],
  nodes: [node, { ...node, name: 'n2', state: 'failed', reason: odd }], warnings: [],
};
const event: EventView = { sequence: 7, at: '2025-01-02T03:04:05Z', site: 'alpha', node: '', kind: 'stage-done', text: odd };
const access: AccessView = { profile: 'client\n<ca>\n</ca>\n', hostfile: 'n1 slots=1\n', knownHosts: '', loginUser: 'grid', nodes: [node] };
const sitePlan = { site: 'alpha', nodes: 2, stages: [{ stage: 'resolve' as const, bytes: 0, items: 3 }], predicted: 4, reason: 'from the base', alternatives: [{ name: 'base image', predicted: 4, chosen: true }] };
const site: SiteView = { name: 'alpha', url: 'https://head:8451', subject: '/O=Grid/CN=host/head', state: 'open', alive: true, freeNodes: 4, freeMemory: 4096 };
const part: PartView = { cluster: 'k3x9q2ab', state: 'launching', plan: sitePlan, measured: [{ stage: 'base', seconds: 1.5, bytes: 2 ** 40, items: 1 }], nodes: [{ name: 'n1', host: 'h1', state: 'planned' }] };

/** Every call that reached a port, newest last: [name, ...arguments without the caller]. */
const calls: unknown[][] = [];
let failure: unknown;
function recorder<T>(name: string, result: T, skip = 1): (...values: unknown[]) => Promise<T> {
  return async (...values) => {
    calls.push([name, ...values.slice(skip)]);
    if (failure !== undefined) throw failure;
    if (values.includes('missing1')) throw new GridError('not-found', 'there is no cluster missing1', { hint: 'gridvc list shows yours' });
    return result;
  };
}
const clusters = {
  plan: recorder('plan', { predictedSeconds: 4, sites: [sitePlan] }), createCluster: recorder('createCluster', view), getCluster: recorder('getCluster', view),
  listClusters: recorder('listClusters', [view]), awaitEvents: recorder('awaitEvents', [event, event]), extendLifetime: recorder('extendLifetime', view),
  destroyCluster: recorder('destroyCluster', view), getAccess: recorder('getAccess', access),
} as unknown as ClusterService;
const delegation = { requestDelegation: recorder('requestDelegation', { id: 'd1', request: 'PEM\n' }), putDelegation: recorder('putDelegation', { notAfter: '2025-01-02T03:04:05Z' }) } as DelegationService;
const sites = {
  registerSite: recorder('registerSite', site), setSiteState: recorder('setSiteState', { ...site, state: 'draining' }), listSites: recorder('listSites', []), unregisterSite: recorder('unregisterSite', undefined),
} as unknown as SiteService;
const head = {
  snapshot: recorder('snapshot', { site: 'alpha', releases: ['bookworm'], bundles: [], hosts: [{ host: 'h1', freeMemory: 1, freeDisk: 2, vcpus: 3 }] }, 0), plan: recorder('plan', sitePlan, 0),
  check: recorder('check', undefined, 0), createPart: recorder('createPart', part, 0), getPart: recorder('getPart', part, 0), awaitPartEvents: recorder('awaitPartEvents', [event], 0), confirmPart: recorder('confirmPart', part, 0),
  extendPart: recorder('extendPart', part, 0), nodeConsole: recorder('nodeConsole', odd, 0), destroyPart: recorder('destroyPart', part, 0),
} as unknown as HeadService;

const admin = {} as HeadAdmin; // its own test: admin.test.ts

const rawOf = (attributes: Record<string, readonly string[]>, files: RawRequest['files'] = []): RawRequest => ({ attributes: new Map(Object.entries(attributes)), files });
const gatekeeper = await serveGatekeeper({
  host: '127.0.0.1', port: 0, tls: tlsServer, authenticate, log, limits: { bodyBytes: 100_000, tunnelCheck: 0.1 },
  services: {
    clusters, delegation, sites,
    fromRsl: (text) => rawOf({ rsl: [text] }),
    fromElements: ({ file, ...rest }) => rawOf(Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, [value].flat() as string[]])), file),
  },
  uploads: diskUploads(home, { fileBytes: 100_000, ownerBytes: 150_000 }),
  dialer: {
    dial: async (_caller, cluster, name) => {
      if (cluster !== 'k3x9q2ab') throw new GridError('not-found', `there is no cluster ${cluster}`);
      const echo = new PassThrough();
      echo.write(`hello from ${name}\n`);
      return echo;
    },
  },
});
t.teardown(() => gatekeeper.close(0));
const base = `https://localhost:${gatekeeper.port}`;
const client = new ClusterClient({ url: base, tls: { ca, cert: proxy.chain, key: proxy.key! } });
t.teardown(() => client.close());

// ---------------------------------------------------------------- our client

t.test('every operation of cluster.wsdl and site.wsdl goes there and back unchanged', async (t) => {
  const last = (): unknown[] => calls.at(-1) ?? [];
  t.same(await client.plan({ rsl: '&(count=2)(name="<&>")' }), { predictedSeconds: 4, sites: [sitePlan] });
  t.same(last(), ['plan', rawOf({ rsl: ['&(count=2)(name="<&>")'] })]);
  const file = { path: '/home/grid/x', mode: '0600', content: 'aGVsbG8=' };
  t.same(await client.createCluster('key-1', { count: 4, package: ['gcc'], onFailure: 'any', file: [file] }), view);
  t.same(last(), ['createCluster', 'key-1', rawOf({ count: ['4'], package: ['gcc'], onFailure: ['any'] }, [file])]);
  t.same(await client.getCluster('k3x9q2ab'), view);
  t.same(await client.listClusters(), [view]);
  t.same(await client.awaitEvents('k3x9q2ab', 2 ** 40, 60), [event, event]);
  t.same(last(), ['awaitEvents', 'k3x9q2ab', 2 ** 40, 60]);
  t.same(await client.extendLifetime('k3x9q2ab', 5), view);
  t.same(await client.destroyCluster('k3x9q2ab'), view);
  t.same(await client.getAccess('k3x9q2ab'), access);
  t.same(await client.requestDelegation(), { id: 'd1', request: 'PEM\n' });
  t.same(await client.putDelegation('d1', 'chain'), { notAfter: '2025-01-02T03:04:05Z' });
  t.same(await client.registerSite({ name: 'alpha', url: 'https://h', subject: odd }), site);
  t.same(last(), ['registerSite', { name: 'alpha', url: 'https://h', subject: odd }]);
  t.equal((await client.setSiteState('alpha', 'draining')).state, 'draining');
  t.same(await client.listSites(), []);
  t.equal(await client.unregisterSite('alpha'), undefined);
});

t.test('faults arrive as the GridError that was thrown; a bug as a reference that the log knows', async (t) => {
  t.teardown(() => (failure = undefined));
  for (const kind of errorKinds.filter((one) => one !== 'internal')) {
    failure = new GridError(kind, odd, kind === 'quota' ? {} : { hint: 'do <this>' });
    await t.rejects(client.listClusters(), { kind, message: odd, hint: kind === 'quota' ? undefined : 'do <this>' });
  }
  failure = new TypeError('secret detail');
  const error = await client.listClusters().catch((caught: unknown) => caught);
  if (!isGridError(error, 'internal')) return t.fail('not an internal error');
  t.match(error.message, /^internal error, reference [0-9a-f]{12}$/);
  t.ok(logged.some((line) => line.includes(error.reference!) && line.includes('secret detail')), 'the log has the whole story');
  t.notMatch(error.message + error.hint, /secret/);
});

t.test('connections: kept, and errors below SOAP say where and what', async (t) => {
  const nobody = new ClusterClient({ url: 'https://localhost:1', tls: { ca, ...alice } });
  await t.rejects(nobody.listClusters(), { kind: 'unavailable', message: /https:\/\/localhost:1\/soap\/cluster does not answer: ECONNREFUSED/ });
  const distrustful = new ClusterClient({ url: base, tls: { ca: [alice.cert], ...alice } });
  await t.rejects(distrustful.listClusters(), { kind: 'not-authenticated', message: /the certificate of https:.* was refused/ });
  const picky = new ClusterClient({ url: base, tls: { ca, ...alice, checkServer: () => new Error('not the head that was registered') } });
  await t.rejects(picky.listClusters(), { kind: /unavailable|not-authenticated/, message: /not the head that was registered/ });
  const abort = new AbortController();
  abort.abort();
  await t.rejects(client.getCluster('k3x9q2ab', { signal: abort.signal }), { kind: 'interrupted', message: /was interrupted/ });
  const started = performance.now();
  for (let i = 0; i < 200; i++) await client.getCluster('k3x9q2ab');
  t.comment(`${Math.round(200_000 / (performance.now() - started))} getCluster a second over one connection, client and server in one process`);
});

// ---------------------------------------------------------------- bad input

/** One raw HTTP exchange with Alice's certificate (or none). */
async function raw(method: string, path: string, body: string | Buffer = '', headers: Record<string, string> = {}, who: { cert?: string; key?: string } = alice): Promise<{ status: number; text: string; type: string }> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(`${base}${path}`, { method, agent: false, ca, servername: 'localhost', ...who, headers: { 'Content-Type': 'text/xml; charset=utf-8', ...headers } }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString(), type: response.headers['content-type'] ?? '' }));
    });
    request.on('error', reject).end(body);
  });
}
const soap = 'http://schemas.xmlsoap.org/soap/envelope/';
const envelope = (payload: string, before = '', header = ''): string => `${before}<e:Envelope xmlns:e="${soap}" xmlns:c="urn:gridvc:cluster" xmlns:t="urn:gridvc:types">${header}<e:Body>${payload}</e:Body></e:Envelope>`;

t.test('bad documents are refused with a fault that names what is wrong, and reach no service', async (t) => {
  const get = '<c:getCluster><c:id>k3x9q2ab</c:id></c:getCluster>';
  const deep = '<c:x>'.repeat(40) + '</c:x>'.repeat(40);
  const bad: Array<[string, string | Buffer, string, Record<string, string>?]> = [
    ['a DTD', envelope(get, '<!DOCTYPE x>'), 'a DOCTYPE is not allowed'],
    ['an entity bomb', envelope('<c:getCluster><c:id>&amp;&b;</c:id></c:getCluster>', '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'), 'a DOCTYPE is not allowed'],
    ['an external entity', envelope('<c:getCluster><c:id>&f;</c:id></c:getCluster>', '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'), 'a DOCTYPE is not allowed'],
    ['an undeclared entity', envelope('<c:getCluster><c:id>&constructor;</c:id></c:getCluster>'), 'the entity &amp;constructor; is not known'],
    ['a processing instruction', envelope(get, '<?xml-stylesheet href="x"?>'), 'processing instruction &lt;?xml-stylesheet href'],
    ['another encoding', envelope(get, '<?xml version="1.0" encoding="ISO-8859-1"?>'), 'encoding "ISO-8859-1" is not read'],
    ['another charset', envelope(get), 'charset "utf-16" is not read', { 'Content-Type': 'text/xml; charset=utf-16' }],
    ['not UTF-8', Buffer.from(envelope('<c:getCluster><c:id>\xff</c:id></c:getCluster>'), 'latin1'), 'not valid UTF-8'],
    ['compressed', envelope(get), 'content encoding "gzip" is not read', { 'Content-Encoding': 'gzip' }],
    ['JSON', '{}', 'content type "application/json" is not SOAP 1.1', { 'Content-Type': 'application/json' }],
    ['nothing', '', 'the body is empty'],
    ['malformed', envelope(get).replace('</c:id>', ''), 'XML, line 1: &lt;/c:getCluster&gt; closes &lt;c:id&gt;'],
    ['cut short', envelope(get).slice(0, -20), 'XML, line 1: "&gt;" is missing'],
    ['no envelope', get.replaceAll('c:', ''), 'not a SOAP envelope'],
    ['SOAP 1.2', envelope(get).replace(soap, 'http://www.w3.org/2003/05/soap-envelope'), 'is not SOAP 1.1'],
    ['two operations', envelope(get + get), 'the SOAP body has 2 elements'],
    ['an unknown operation', envelope('<c:constructor/>'), 'unknown operation "constructor"'],
    ['an operation of another service', envelope('<s:listSites xmlns:s="urn:gridvc:site"/>'), 'unknown operation "listSites"'],
    ['a header that must be understood', envelope(get, '', '<e:Header><c:pay e:mustUnderstand="1"/></e:Header>'), 'says mustUnderstand'],
    ['deep nesting', envelope(deep), 'nested deeper than 32'],
    ['an unknown element', envelope('<c:getCluster><c:id>x</c:id><c:colour>red</c:colour></c:getCluster>'), 'getCluster has an unknown element "colour"; it may have: id'],
    ['an unknown element of the request', envelope('<c:plan><c:request><t:cuont>1</t:cuont></c:request></c:plan>'), 'plan/request has an unknown element "cuont"; it may have: count,'],
    ['__proto__', envelope('<c:getCluster><c:__proto__>x</c:__proto__><c:id>x</c:id></c:getCluster>'), 'unknown element "__proto__"'],
    ['an id attribute', envelope('<c:getCluster><c:id id="__proto__">x</c:id></c:getCluster>'), 'unknown attribute "id"'],
    ['a missing element', envelope('<c:getCluster/>'), 'getCluster/id is missing'],
    ['an element twice', envelope('<c:getCluster><c:id>x</c:id><c:id>y</c:id></c:getCluster>'), 'getCluster/id is given more than once'],
    ['a wrong type', envelope('<c:awaitEvents><c:id>x</c:id><c:after>12abc</c:after><c:seconds>1</c:seconds></c:awaitEvents>'), 'awaitEvents/after is "12abc", but must be a whole number'],
    ['elements for text', envelope('<c:getCluster><c:id><t:a/></c:id></c:getCluster>'), 'getCluster/id has elements in it'],
    ['text beside elements', envelope('<c:getCluster>x<c:id>x</c:id></c:getCluster>'), 'text stands beside elements'],
    ['no namespace', envelope('<c:getCluster><id>x</id></c:getCluster>'), 'getCluster/id: wrong namespace ""'],
    ['both request and rsl', envelope('<c:plan><c:request/><c:rsl>&amp;</c:rsl></c:plan>'), 'both of the elements request and rsl'],
    ['neither', envelope('<c:plan/>'), 'neither of the elements request and rsl'],
  ];
  const before = calls.length;
  for (const [name, body, message, headers] of bad) {
    const answer = await raw('POST', '/soap/cluster', body, headers);
    t.ok(answer.status === 500 && answer.text.includes(message) && answer.text.includes('<kind>bad-request</kind>') && answer.text.includes('<faultcode>soap:Client</faultcode>'), name, { answer });
  }
  t.equal(calls.length, before, 'no service was called');
  t.equal((Object.prototype as Record<string, unknown>)['obj'], undefined, 'Object.prototype is as it was');

  for (const headers of [{}, { 'Transfer-Encoding': 'chunked' }]) {
    const large = await raw('POST', '/soap/cluster', envelope(`<c:getCluster><c:id>${'x'.repeat(2e6)}</c:id></c:getCluster>`), headers);
    t.match(large, { status: 413, text: /the body is larger than 100000 bytes.*<kind>too-large</s });
  }
  const stranger = await raw('POST', '/soap/cluster', envelope(get), {}, {});
  t.match(stranger, { status: 500, text: /<kind>not-authenticated</ });
  const disagreeing = await raw('POST', '/soap/cluster', envelope(get), { SOAPAction: '"urn:gridvc:cluster/destroyCluster"' });
  t.match(disagreeing, { status: 200, text: /getClusterResponse/ });
  t.equal(calls.at(-1)?.[0], 'getCluster', 'the body decides, not the SOAPAction header');
});

t.test('the reader: what is escaped comes back, and whatever comes is read or refused, never a bug', async (t) => {
  const piece = fc.oneof(fc.constantFrom('<', '>', '/', '<a>', '</a>', '<a b="c"', '&', '&lt;', '&#', '&#x0;', ';', '<!--', '-->', '<![CDATA[', ']]>', '<?', '?>', 'xmlns:x="y"', '<x:a>', '"', "'", '=', ' ', '\n'), fc.string());
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
      try {
        return readXml(pieces.join('')).name !== '';
      } catch (error) {
        return isGridError(error, 'bad-request');
      }
    }),
    { numRuns: 3000 },
  );
  fc.assert(fc.property(fc.string({ unit: 'grapheme' }).filter((text) => !/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/.test(text)), (text) => readXml(`<a>${escapeXml(text)}</a>`).text === text));
  t.equal(readXml(`<a>${escapeXml('\x1b[1m\0')}</a>`).text, '\ufffd[1m\ufffd', 'what XML cannot hold is replaced');
  t.same(readXml('<?xml version="1.0"?>\r\n<!-- c --><p:a xmlns:p="u" xmlns="d" x="1" p:y=\'2\'>t<![CDATA[<&]]>\r<b xmlns=""/></p:a >'), {
    name: 'a', namespace: 'u', attributes: [{ name: 'x', namespace: '', value: '1' }, { name: 'y', namespace: 'u', value: '2' }], text: 't<&\n', children: [{ name: 'b', namespace: '', attributes: [], children: [], text: '' }],
  });
});

// ---------------------------------------------------------------- HTTP beside SOAP

t.test('?wsdl, types.xsd, healthz, and everything else', async (t) => {
  const wsdl = await raw('GET', '/soap/cluster?wsdl', '', { Host: 'grid.example.org:8443' });
  t.match(wsdl, { status: 200, type: /text\/xml/, text: /address location="https:\/\/grid.example.org:8443\/soap\/cluster"/ });
  t.match(await raw('GET', '/soap/site?wsdl', '', { Host: 'a"b' }), { status: 200, text: /address location="https:\/\/localhost:8443/ }, 'a strange Host is not echoed');
  t.match(await raw('GET', '/soap/types.xsd'), { status: 200, type: /text\/xml/, text: /targetNamespace="urn:gridvc:types"/ });
  t.match(await raw('GET', '/soap/cluster'), { status: 405, text: /\?wsdl/ });
  t.match(await raw('DELETE', '/soap/cluster'), { status: 405 });
  t.match(await raw('GET', '/healthz', '', {}, {}), { status: 200, text: '{"ok":true}' });
  t.match(await raw('GET', '/nowhere'), { status: 404, text: /"kind":"not-found".*nothing is at GET \/nowhere/ });
});

t.test('PUT /files keeps a file for its owner, within limits, for a day', async (t) => {
  const content = Buffer.alloc(90_000, 'gridvc');
  await t.rejects(client.putFile(Buffer.alloc(5_000_000)), { kind: 'too-large', message: 'the file is larger than 100000 bytes' });
  const kept = await client.putFile(content);
  t.same(kept, { id: kept.id, bytes: 90_000, sha256: createHash('sha256').update(content).digest('hex') });
  const uploads = diskUploads(home);
  t.ok(content.equals(Buffer.from(await uploads.read('/O=Grid/CN=Alice', kept.id))), 'read back whole');
  await t.rejects(uploads.read('/O=Grid/CN=Mallory', kept.id), { kind: 'not-found', message: /there is no upload/ });
  await t.rejects(uploads.read('/O=Grid/CN=Alice', '../../etc/passwd'), { kind: 'bad-request', message: /not a valid upload name/ });
  const [owner] = readdirSync(join(home, 'uploads'));
  t.equal(statSync(join(home, 'uploads', owner!, kept.id)).mode & 0o777, 0o600);
  await t.rejects(client.putFile(Buffer.alloc(80_000)), { kind: 'quota', message: /larger than 150000 bytes together; 90000 are stored/ });
  t.match(await raw('PUT', '/files', 'x', {}, {}), { status: 401, text: /not-authenticated/ });
  t.same(readdirSync(join(home, 'uploads', owner!)), [kept.id], 'nothing half-written is left');
  await diskUploads(home, { lifetime: 0 }).sweep();
  await t.rejects(uploads.read('/O=Grid/CN=Alice', kept.id), { kind: 'not-found', message: /there is no upload/ });
});

t.test('tunnels: bytes both ways, refusals as HTTP statuses', async (t) => {
  const tunnel = await client.tunnel('k3x9q2ab', 'n1');
  const chunks: Buffer[] = [];
  tunnel.on('data', (chunk: Buffer) => chunks.push(chunk));
  const ended = new Promise((resolve) => tunnel.once('end', resolve));
  tunnel.end('and back\n');
  await ended;
  t.equal(Buffer.concat(chunks).toString(), 'hello from n1\nand back\n');
  await t.rejects(client.tunnel('aaaaaaaa', 'n1'), { kind: 'not-found', message: 'there is no cluster aaaaaaaa' });
  await t.rejects(client.tunnel('../x', 'n1'), { kind: 'not-found', message: /a tunnel is at/ });
  const cut = await client.tunnel('k3x9q2ab', 'n1');
  const closed = new Promise((resolve) => cut.on('error', () => undefined).once('close', resolve));
  cut.resume();
  banned = true;
  await closed; // a ban ends an open tunnel
  banned = false;
});

t.test('close() ends kept, idle and silent connections', async (t) => {
  const other = await serveHead({ host: '127.0.0.1', port: 0, tls: tlsServer, subjectOf, gatekeeper: '/O=Grid/CN=x', service: head, admin, administrators: [], log });
  const silent = connect({ host: '127.0.0.1', port: other.port, ca, servername: 'localhost' });
  silent.on('error', () => undefined);
  await new Promise((resolve) => silent.once('secureConnect', resolve));
  const gone = new Promise((resolve) => silent.once('close', resolve));
  await other.close(0.05);
  await gone;
  await other.close();
  await t.rejects(serveHead({ host: '127.0.0.1', port: gatekeeper.port, tls: tlsServer, subjectOf, gatekeeper: '/O=Grid/CN=x', service: head, admin, administrators: [], log }), { kind: 'unavailable', message: /cannot listen on 127.0.0.1:/ });
});

// ---------------------------------------------------------------- head

t.test('head.wsdl: every operation, for the configured gatekeeper only', async (t) => {
  const server = await serveHead({ host: '127.0.0.1', port: 0, tls: tlsServer, subjectOf, gatekeeper: '/O=Grid/CN=host/localhost', service: head, admin, administrators: [], log });
  t.teardown(() => server.close(0));
  const url = `https://localhost:${server.port}`;
  const certificate = certificatesOf(host.cert)[0]!;
  const headClient = new HeadClient({ url, tls: { ca, ...host, checkServer: (der) => (Buffer.compare(der, certificate) === 0 ? undefined : new Error('another head')) } });
  t.teardown(() => headClient.close());
  const last = (): unknown[] => calls.at(-1) ?? [];
  t.same(await headClient.snapshot(), { site: 'alpha', releases: ['bookworm'], bundles: [], hosts: [{ host: 'h1', freeMemory: 1, freeDisk: 2, vcpus: 3 }] });
  const asked = { memory: 320, disk: 1600, vcpus: 1, os: 'bookworm', packages: ['gcc', 'make'], bundles: [] };
  t.same(await headClient.plan(asked, 4), sitePlan);
  t.same(last(), ['plan', asked, 4]);
  await headClient.check(asked);
  t.same(last(), ['check', asked]);
  const spec: PartSpec = {
    ...asked, cluster: 'k3x9q2ab', owner: '/O=Grid/CN=Alice', expires: 1_735_787_045_678, minCount: 1,
    nodes: [{ name: 'n1', overlayAddress: '10.128.0.2', certificate: 'C\n', key: 'K\n', hostKey: 'H\n', hostKeyPublic: 'P' }],
    overlay: { hubHost: '198.18.0.1', hubPort: 21000, ca: 'CA\n', hubName: 'hub', netmask: '255.255.240.0' },
    hosts: '127.0.0.1 localhost\n', hostfile: '', knownHosts: odd, authorizedKeys: ['ssh-ed25519 AAAA'], clusterKey: 'x', clusterKeyPublic: 'y',
    files: [{ path: '/a', mode: 0o644, source: { kind: 'inline', base64: 'aGVsbG8=' } }, { path: '/b', mode: 0o755, source: { kind: 'upload', id: 'u-1' } }],
  };
  t.same(await headClient.createPart(spec), part);
  t.same(last(), ['createPart', spec]);
  t.same(await headClient.getPart('k3x9q2ab'), part);
  t.same(await headClient.awaitPartEvents('k3x9q2ab', 3, 0), [event]);
  t.same(await headClient.confirmPart('k3x9q2ab', part.measured, ['n1', 'n2']), part);
  t.same(last(), ['confirmPart', 'k3x9q2ab', part.measured, ['n1', 'n2']]);
  t.same(await headClient.extendPart('k3x9q2ab', 5), part);
  t.equal(await headClient.nodeConsole('k3x9q2ab', 'n1'), odd);
  t.same(await headClient.destroyPart('k3x9q2ab'), part);

  const before = calls.length;
  const stranger = new HeadClient({ url, tls: { ca, ...alice } });
  t.teardown(() => stranger.close());
  await t.rejects(stranger.snapshot(), { kind: 'not-authorized', message: '/O=Grid/CN=Alice may not call this head' });
  t.equal(calls.length, before);
});


// ---------------------------------------------------------------- a client that is not ours

t.test('python3-zeep reads our WSDLs and makes real calls', { skip: missing('/usr/lib/python3/dist-packages/zeep/__init__.py', ['python3-zeep']) }, async (t) => {
  const paths = { ca: join(home, 'ca.pem'), cert: join(home, 'alice.pem'), key: join(home, 'alice.key') };
  writeFileSync(paths.ca, authority.certificate);
  writeFileSync(paths.cert, alice.cert);
  writeFileSync(paths.key, alice.key, { mode: 0o600 });
  const script = join(import.meta.dirname, '..', '..', 'test', 'support', 'zeep-client.py');
  const output = await new Promise<string>((resolve, reject) => execFile('/usr/bin/python3', [script, base, paths.ca, paths.cert, paths.key], (error, stdout, stderr) => (error ? reject(new Error(stderr)) : resolve(stdout))));
  t.same(JSON.parse(output), {
    createCluster: ['k3x9q2ab', 'joining', '2025-01-02T03:04:05.678000+00:00', ['n1', 'n2'], []],
    rsl: 4, list: 1, events: ['stage-done', 'stage-done'], delegation: 'PEM\n', site: 'draining',
    fault: ['soap:Client', 'there is no cluster missing1', 'not-found', 'gridvc list shows yours'],
  });
  const created = calls.find((call) => call[1] === 'zeep-1')?.[2] as RawRequest;
  t.same(created, rawOf({ count: ['4'], minCount: ['2'], package: ['gcc', 'make'], bundle: ['mpi'], placement: ['spread'] }, [{ path: '/home/grid/a', mode: '0600', content: 'aGVsbG8=' }]));
});
