/** HeadService over SOAP: how the gatekeeper reaches a site's head. The calls carry no rule; errors are the head's GridErrors. */
import type { PartSpec } from '../src/domain/node.js';
import type { SitePlan } from '../src/domain/plan.js';
import type { EventView, SiteSnapshot } from '../src/domain/views.js';
import type { HeadService, MeasuredStage, PartRequest, PartView } from '../src/ports.js';
import type { headOperations } from '../src/soap/contract.js';
import type { CallOptions, ClientOptions } from '../src/soap/https-client.js';
import { HttpsClient } from '../src/soap/https-client.js';
import type { SoapClient } from '../src/soap/client.js';
import { soapClient } from '../src/soap/client.js';

export class HeadClient implements HeadService {
  readonly #http: HttpsClient;
  readonly #soap: SoapClient<typeof headOperations>;

  /** @param options.url https://host:port of the head; tls: the gatekeeper's host certificate, checkServer: the head's subject */
  constructor(options: ClientOptions) {
    this.#http = new HttpsClient(options);
    this.#soap = soapClient({ ...options, wsdl: 'head', http: this.#http });
  }

  async snapshot(options?: CallOptions): Promise<SiteSnapshot> {
    return (await this.#soap.call('snapshot', {}, options)).snapshot;
  }
  async plan(asked: PartRequest, nodes: number, options?: CallOptions): Promise<SitePlan> {
    // apt may have to fetch its lists first
    return (await this.#soap.call('plan', { request: partRequest(asked), nodes }, { seconds: 180, ...options })).plan;
  }
  async check(asked: PartRequest, options?: CallOptions): Promise<void> {
    await this.#soap.call('check', { request: partRequest(asked) }, { seconds: 10, ...options });
  }
  async createPart(spec: PartSpec, options?: CallOptions): Promise<PartView> {
    return (await this.#soap.call('createPart', { spec }, options)).part;
  }
  async getPart(cluster: string, options?: CallOptions): Promise<PartView> {
    return (await this.#soap.call('getPart', { cluster }, options)).part;
  }
  async awaitPartEvents(cluster: string, after: number, seconds: number, options?: CallOptions): Promise<readonly EventView[]> {
    return (await this.#soap.call('awaitPartEvents', { cluster, after, seconds }, { seconds: seconds + 30, ...options })).events;
  }
  async confirmPart(cluster: string, stages: readonly MeasuredStage[], readyNodes: readonly string[], options?: CallOptions): Promise<PartView> {
    return (await this.#soap.call('confirmPart', { cluster, stages, readyNodes }, options)).part;
  }
  async extendPart(cluster: string, expires: number, options?: CallOptions): Promise<PartView> {
    return (await this.#soap.call('extendPart', { cluster, expires }, options)).part;
  }
  async nodeConsole(cluster: string, node: string, options?: CallOptions): Promise<string> {
    return (await this.#soap.call('nodeConsole', { cluster, node }, { seconds: 10, ...options })).text;
  }
  async destroyPart(cluster: string, options?: CallOptions): Promise<PartView> {
    return (await this.#soap.call('destroyPart', { cluster }, options)).part;
  }

  /** Closes the kept connections. */
  close(): void {
    this.#http.close();
  }
}

/** A ClusterRequest has more than a head needs to know. */
function partRequest({ memory, disk, vcpus, os, packages, bundles, exact }: PartRequest): PartRequest {
  return { memory, disk, vcpus, os, packages, bundles, ...(exact === true ? { exact } : {}) };
}
