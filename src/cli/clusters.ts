/** The actions plan, create, list, show, watch, extend and destroy. */
import { randomUUID } from 'node:crypto';
import { GridError, isGridError } from '../domain/error.js';
import { checkName } from '../domain/names.js';
import type { ClusterView } from '../domain/views.js';
import type { AskedCluster, ClusterClient } from '../soap/client.js';
import type { CommonOptions, CreateOptions, RequestOptions } from './commands/cluster.js';
import { connect } from './connect.js';
import { onInterrupt } from './interrupt.js';
import { follow } from './progress.js';
import { readRequest } from './request.js';
import { planText, stageTable, summary } from './stage-table.js';
import { exitCodes, note, print, printJson, seconds, table } from './terminal.js';
import { readPublicKeys, userKey } from './user-key.js';

/** A site that has no base image yet makes it before it can plan. */
const planSeconds = 300;

export async function plan(file: string | undefined, options: RequestOptions & CommonOptions): Promise<void> {
  const { client } = await connect(options);
  const answer = await client.plan(await readRequest(file, options, readPublicKeys(options.sshKey ?? []), client), { seconds: planSeconds });
  if (options.json === true) printJson(answer);
  else print(planText(answer));
}

export async function create(file: string | undefined, options: CreateOptions): Promise<number> {
  const { client } = await connect(options);
  const keys = [userKey().publicLine, ...readPublicKeys(options.sshKey ?? [])];
  const request = await readRequest(file, options, keys, client);
  const key = options.key ?? randomUUID();
  if (options.wait === true) return createAndWait(client, key, request, options);
  const cluster = await client.createCluster(key, request);
  announce(cluster);
  if (options.json === true) printJson(cluster);
  else print(cluster.id);
  return exitCodes.done;
}

/** Ctrl-C while waiting destroys the cluster: what nobody waits for is not left behind. A second one leaves it alone. */
async function createAndWait(client: ClusterClient, key: string, request: AskedCluster, options: CreateOptions): Promise<number> {
  const { signal, done } = onInterrupt(() => note('destroying the cluster; again to leave it as it is'));
  try {
    const cluster = await client.createCluster(key, request);
    announce(cluster);
    if (options.json !== true) print(cluster.id);
    const end = await follow({ client, id: cluster.id, signal, out: process.stderr }).catch(async (error: unknown) => {
      if (!isGridError(error, 'interrupted')) throw error;
      await client.destroyCluster(cluster.id);
      await follow({ client, id: cluster.id, signal: new AbortController().signal, out: process.stderr, until: 'final' });
      throw new GridError('interrupted', `interrupted; cluster ${cluster.id} is destroyed`);
    });
    if (options.json === true) printJson(end);
    return end.state === 'ready' ? exitCodes.done : exitCodes.failed;
  } finally {
    done();
  }
}

function announce(cluster: ClusterView): void {
  for (const warning of cluster.warnings) note(`warning: ${warning}`);
}

export async function list(options: CommonOptions & { readonly all?: boolean }): Promise<void> {
  const { client } = await connect(options);
  const clusters = (await client.listClusters()).filter(({ state }) => options.all === true || (state !== 'destroyed' && state !== 'failed'));
  if (options.json === true) return printJson(clusters);
  if (clusters.length === 0) return note(options.all === true ? 'you have had no clusters here' : 'you have no clusters here (--all shows those that are gone)');
  print(table(['id', 'state', 'nodes', 'created', 'expires', 'ready after'], clusters.map((each) => [each.id, each.state, `${each.ready}/${each.count}`, each.created, each.expires, seconds(each.measuredSeconds)])));
}

export async function show(id: string, options: CommonOptions): Promise<void> {
  const { client } = await connect(options);
  const cluster = await client.getCluster(checkName('cluster', id));
  if (options.json === true) return printJson(cluster);
  print(summary(cluster));
  print(`owner ${cluster.owner}\ncreated ${cluster.created}, ends ${cluster.expires}`);
  for (const warning of cluster.warnings) print(`warning: ${warning}`);
  if (cluster.stages.length > 0) print(`\n${stageTable(cluster.stages)}`);
  if (cluster.nodes.length > 0) print(`\n${table(['node', 'site', 'host', 'address', 'state'], cluster.nodes.map((node) => [node.name, node.site, node.host, node.overlayAddress, node.reason === undefined ? node.state : `${node.state}: ${node.reason}`]))}`);
}

export async function watch(id: string, options: CommonOptions): Promise<number> {
  const { client } = await connect(options);
  const cluster = await waitFor(client, checkName('cluster', id), 'ready');
  if (options.json === true) printJson(cluster);
  return cluster.state === 'failed' ? exitCodes.failed : exitCodes.done;
}

export async function extend(id: string, minutes: number, options: CommonOptions): Promise<void> {
  const { client } = await connect(options);
  const cluster = await client.extendLifetime(checkName('cluster', id), minutes);
  if (options.json === true) return printJson(cluster);
  print(`cluster ${cluster.id} now ends ${cluster.expires}`);
  for (const warning of cluster.warnings) note(`warning: ${warning}`);
}

/** Goes on with the others if one is refused; the first refusal decides the exit code. */
export async function destroy(ids: readonly string[], options: CommonOptions & { readonly wait?: boolean }): Promise<void> {
  const { client } = await connect(options);
  const begun = await Promise.allSettled(ids.map((id) => client.destroyCluster(checkName('cluster', id))));
  const clusters: ClusterView[] = [];
  for (const each of begun) {
    if (each.status === 'fulfilled') clusters.push(options.wait === true ? await waitFor(client, each.value.id, 'final') : each.value);
  }
  if (options.json === true) printJson(clusters);
  else for (const cluster of clusters) print(`cluster ${cluster.id} is ${cluster.state}`);
  const refused = begun.find((each) => each.status === 'rejected');
  if (refused !== undefined) throw refused.reason;
}

/** Progress on standard error. Ctrl-C ends the waiting, not the cluster. */
async function waitFor(client: ClusterClient, id: string, until: 'ready' | 'final'): Promise<ClusterView> {
  const { signal, done } = onInterrupt(() => undefined);
  try {
    return await follow({ client, id, signal, out: process.stderr, until });
  } catch (error) {
    if (!isGridError(error, 'interrupted')) throw error;
    throw new GridError('interrupted', `no longer waiting; cluster ${id} goes on by itself`, { hint: `gridvc watch ${id}, or gridvc destroy ${id}` });
  } finally {
    done();
  }
}
