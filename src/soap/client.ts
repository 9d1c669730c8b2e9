/**
 * Typed SOAP client of the four services, for the CLI, the gatekeeper (calling heads) and tests.
 * It builds envelopes from the contract and reads no WSDL: the `soap` package's client takes 0.2 s to load, this one 0.02 s.
 */
import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { GridError } from '../domain/error.js';
import type { AccessView, ClusterView, EventView, PlanView, SiteState, SiteView } from '../domain/views.js';
import type { Operations, RequestElements, ServiceName } from './contract.js';
import { services, typesNamespace } from './contract.js';
import { errorFromFault, errorFromHttp } from './fault.js';
import type { CallOptions, ClientOptions } from './https-client.js';
import { HttpsClient } from './https-client.js';
import type { Value } from './shape.js';
import { readShape, writeFields } from './shape.js';
import { envelopeNamespace, plainPayload, readEnvelope } from './envelope.js';
import { decodeUtf8 } from './xml.js';

/** Calls the operations of one service by name, typed by the contract. */
export class SoapClient<O extends Operations> {
  readonly #http: HttpsClient;
  readonly #path: string;

  constructor(
    readonly service: { readonly namespace: string; readonly wsdl: string; readonly operations: O },
    http: HttpsClient,
    path = `/soap/${service.wsdl}`,
  ) {
    this.#http = http;
    this.#path = path;
  }

  /** One call. Throws the GridError that the server threw, or those of HttpsClient. */
  async call<K extends keyof O & string>(name: K, input: Value<O[K]['input']>, options: CallOptions = {}): Promise<Value<O[K]['output']>> {
    const operation = this.service.operations[name]!;
    const { namespace } = this.service;
    const payload = `<s:${name} xmlns:s="${namespace}" xmlns="${typesNamespace}">${writeFields(operation.input.fields ?? {}, input, 's:')}</s:${name}>`;
    const envelope = `<?xml version="1.0" encoding="utf-8"?><e:Envelope xmlns:e="${envelopeNamespace}"><e:Body>${payload}</e:Body></e:Envelope>`;
    const headers = { 'Content-Type': 'text/xml; charset=utf-8', 'Content-Length': Buffer.byteLength(envelope), SOAPAction: `"${namespace}/${name}"` };
    const { status, body } = await this.#http.exchange('POST', this.#path, headers, envelope, options);
    return readShape(operation.output, plainPayload(this.#answer(name, status, body), typesNamespace), `${name}Response`) as Value<O[K]['output']>;
  }

  #answer(name: string, status: number, body: Buffer): ReturnType<typeof readEnvelope> {
    let element;
    try {
      element = readEnvelope(decodeUtf8(body));
    } catch (error) {
      throw new GridError('unavailable', `the server at ${this.#path} does not speak SOAP: status ${status}`, { hint: 'is this the address of a gridvc gatekeeper or head?', cause: error });
    }
    if (element.name === 'Fault' && element.namespace === envelopeNamespace) throw errorFromFault(element);
    if (element.name !== `${name}Response` || element.namespace !== this.service.namespace) throw new GridError('internal', `the server answered ${name} with <${element.name.slice(0, 80)}>`);
    return element;
  }
}

/** Client of one service; several may share the connections of one HttpsClient. */
export function soapClient<N extends ServiceName>(options: ClientOptions & { wsdl: N; http?: HttpsClient }): SoapClient<(typeof services)[N]['operations']> {
  const { pathname } = new URL(options.url);
  const path = pathname === '/' ? `/soap/${options.wsdl}` : pathname;
  return new SoapClient<(typeof services)[N]['operations']>(services[options.wsdl], options.http ?? new HttpsClient(options), path);
}

/** The request as a person gives it: RSL text, or elements (numbers are fine). */
export type AskedCluster = { readonly rsl: string } | AskedElements;
type Text = string | number;
export interface AskedElements {
  readonly count?: Text;
  readonly minCount?: Text;
  readonly memory?: Text;
  readonly disk?: Text;
  readonly vcpus?: Text;
  readonly os?: string;
  readonly package?: readonly string[];
  readonly bundle?: readonly string[];
  /** content is base64. */
  readonly file?: RequestElements['file'];
  readonly lifetime?: Text;
  readonly site?: readonly string[];
  readonly placement?: string;
  readonly onFailure?: string;
  readonly sshKey?: readonly string[];
  /** "yes" or "no" */
  readonly exact?: string;
}

function onTheWire(asked: AskedCluster): { rsl: string } | { request: RequestElements } {
  if ('rsl' in asked) return { rsl: asked.rsl };
  const texts = Object.fromEntries(Object.entries(asked).map(([name, value]) => [name, typeof value === 'number' ? String(value) : value]));
  return { request: { package: [], bundle: [], file: [], site: [], sshKey: [], ...texts } };
}

/** ClusterService, DelegationService and SiteService of a gatekeeper, as the caller whose certificate this is. */
export class ClusterClient {
  readonly http: HttpsClient;
  readonly #cluster: SoapClient<(typeof services)['cluster']['operations']>;
  readonly #site: SoapClient<(typeof services)['site']['operations']>;

  /** @param options.url https://host:port of the gatekeeper */
  constructor(options: ClientOptions) {
    this.http = new HttpsClient(options);
    this.#cluster = new SoapClient(services.cluster, this.http);
    this.#site = new SoapClient(services.site, this.http);
  }

  async plan(asked: AskedCluster, options?: CallOptions): Promise<PlanView> {
    return (await this.#cluster.call('plan', onTheWire(asked), options)).plan;
  }
  async createCluster(key: string, asked: AskedCluster, options?: CallOptions): Promise<ClusterView> {
    return (await this.#cluster.call('createCluster', { key, ...onTheWire(asked) }, options)).cluster;
  }
  async getCluster(id: string, options?: CallOptions): Promise<ClusterView> {
    return (await this.#cluster.call('getCluster', { id }, options)).cluster;
  }
  async listClusters(options?: CallOptions): Promise<readonly ClusterView[]> {
    return (await this.#cluster.call('listClusters', {}, options)).clusters;
  }
  async awaitEvents(id: string, after: number, seconds: number, options?: CallOptions): Promise<readonly EventView[]> {
    return (await this.#cluster.call('awaitEvents', { id, after, seconds }, { seconds: seconds + 30, ...options })).events;
  }
  async extendLifetime(id: string, minutes: number, options?: CallOptions): Promise<ClusterView> {
    return (await this.#cluster.call('extendLifetime', { id, minutes }, options)).cluster;
  }
  async destroyCluster(id: string, options?: CallOptions): Promise<ClusterView> {
    return (await this.#cluster.call('destroyCluster', { id }, options)).cluster;
  }
  async getAccess(id: string, options?: CallOptions): Promise<AccessView> {
    return (await this.#cluster.call('getAccess', { id }, options)).access;
  }
  async requestDelegation(options?: CallOptions): Promise<{ id: string; request: string }> {
    return this.#cluster.call('requestDelegation', {}, options);
  }
  async putDelegation(id: string, chain: string, options?: CallOptions): Promise<{ notAfter: string }> {
    return this.#cluster.call('putDelegation', { id, chain }, options);
  }

  async registerSite(site: { name: string; url: string; subject: string }, options?: CallOptions): Promise<SiteView> {
    return (await this.#site.call('registerSite', site, options)).site;
  }
  async setSiteState(name: string, state: SiteState, options?: CallOptions): Promise<SiteView> {
    return (await this.#site.call('setSiteState', { name, state }, options)).site;
  }
  async listSites(options?: CallOptions): Promise<readonly SiteView[]> {
    return (await this.#site.call('listSites', {}, options)).sites;
  }
  async unregisterSite(name: string, options?: CallOptions): Promise<void> {
    await this.#site.call('unregisterSite', { name }, options);
  }

  /** Sends a file by PUT /files; name the id in a request as `upload`. */
  async putFile(body: Uint8Array | NodeJS.ReadableStream, options: CallOptions = {}): Promise<{ id: string; bytes: number; sha256: string }> {
    const headers: Record<string, string | number> = { 'Content-Type': 'application/octet-stream' };
    if (body instanceof Uint8Array) headers['Content-Length'] = body.length;
    const answer = await this.http.exchange('PUT', '/files', headers, body, { seconds: 300, ...options });
    if (answer.status !== 201) throw errorFromHttp(answer.status, answer.body);
    return z.strictObject({ id: z.string(), bytes: z.number(), sha256: z.string() }).parse(JSON.parse(answer.body.toString('utf8')));
  }

  /** A byte stream to port 22 of a node, over the gatekeeper and the overlay. */
  async tunnel(cluster: string, node: string, options?: CallOptions): Promise<Duplex> {
    return this.http.upgrade(`/tunnel/${encodeURIComponent(cluster)}/${encodeURIComponent(node)}`, 'gridvc-tunnel', options);
  }

  /** Closes the kept connections. */
  close(): void {
    this.http.close();
  }
}
