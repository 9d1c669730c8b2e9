/**
 * One node onto its host: what the host lacks is brought, the node is defined and started. When the connection is lost in
 * the middle, nobody knows how far it came: the host is waited for, then the same is asked again, and the driver looks first.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { AnswerUnknown, GridError } from '../domain/error.js';
import type { Layer } from '../domain/image.js';
import type { NodeDefinition, PartSpec } from '../domain/node.js';
import type { HeadParts } from './bring-up.js';
import type { ComputeHost } from './hosts.js';
import type { PlacedNode } from './parts.js';

/** What the nodes of one part on one host are made of. */
export interface HostImage {
  readonly layers: readonly Layer[];
  /** Only on hosts whose nodes boot one. */
  readonly kernel: Layer | undefined;
}

/** A dom0 that reboots is back within this time of the first lost answer, or its nodes are failed; so is a host that loses one answer after the other for so long. */
const backSeconds = 180;
const lookSeconds = 2;

/** Brings the layers, and a kernel where the host's nodes boot one. @returns bytes really sent */
export async function bringImage(head: HeadParts, spec: PartSpec, host: ComputeHost, layers: readonly Layer[], signal: AbortSignal): Promise<{ image: HostImage; bytes: number }> {
  const kernel = host.driver.bootsKernel === true ? await head.kernels.layer(spec.os, signal, () => void head.parts.event(spec.cluster, 'stage-started', `the kernel of ${spec.os} is prepared, the first time only`)) : undefined;
  if (kernel !== undefined) await head.parts.standsOn(spec.cluster, [kernel.digest]);
  const wanted = kernel === undefined ? layers : [...layers, kernel];
  const bytes = await insist(head, host, { cluster: spec.cluster, signal }, async () => (await head.distributor.distribute(wanted, [host.transport], signal)).bytes);
  return { image: { layers, kernel }, bytes };
}

/** Defines and starts a node; an unknown answer is looked into. */
export async function startNode(head: HeadParts, spec: PartSpec, host: ComputeHost, image: HostImage, placed: PlacedNode, signal: AbortSignal): Promise<void> {
  const node = definition(head, spec, host, image, placed);
  await insist(head, host, { cluster: spec.cluster, node: placed.name, signal }, async () => {
    await host.driver.define(node);
    await host.driver.start(node.id);
  });
}

/** Repeats what may be repeated, once the host is back, when its answer was lost. */
async function insist<T>(head: HeadParts, host: ComputeHost, about: { cluster: string; node?: string; signal: AbortSignal }, work: () => Promise<T>): Promise<T> {
  for (let until: number | undefined; ; ) {
    try {
      return await work();
    } catch (error) {
      until ??= performance.now() + backSeconds * 1000;
      if (!(error instanceof AnswerUnknown) || performance.now() > until) throw error;
      await head.parts.event(about.cluster, 'warning', `${error.message}; waiting for the host`, about.node);
      await answering(host, about.signal, error, until);
    }
  }
}

/** Resolves when the host answers again; unavailable if it has not by `until`. */
async function answering(host: ComputeHost, signal: AbortSignal, lost: AnswerUnknown, until: number): Promise<void> {
  for (;;) {
    if (signal.aborted) throw new GridError('interrupted', `waiting for host ${host.name} was interrupted`);
    const answer = await host.driver.list().catch((error: unknown) => error);
    if (Array.isArray(answer)) return;
    if (performance.now() > until) throw new GridError('unavailable', `${lost.message}, and the host did not come back within ${backSeconds} s`, { cause: answer });
    await pause(lookSeconds * 1000, undefined, { signal }).catch(() => {});
  }
}

function definition(head: HeadParts, spec: PartSpec, host: ComputeHost, image: HostImage, placed: PlacedNode): NodeDefinition {
  const node = spec.nodes.find((candidate) => candidate.name === placed.name);
  if (node === undefined) throw new Error(`node ${placed.name} is not in the spec`);
  const prefix = host.network.subnet.split('/')[1] ?? '24';
  return {
    id: { cluster: spec.cluster, node: placed.name },
    memory: spec.memory,
    disk: spec.disk,
    vcpus: spec.vcpus,
    layers: image.layers.map((layer) => layer.digest),
    ...(image.kernel === undefined ? {} : { kernel: image.kernel.digest }),
    network: { address: `${placed.address}/${prefix}`, gateway: host.network.gateway },
    context: head.contextOf(spec, node),
  };
}
