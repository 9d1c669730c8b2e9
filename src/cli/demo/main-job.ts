/** The steps of the demo on a cluster: plan, create, an MPI program, destroy. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GridError, isGridError } from '../../domain/error.js';
import { isFinal } from '../../domain/lifecycle.js';
import type { ClusterView, PlanView } from '../../domain/views.js';
import type { ClusterClient } from '../../soap/client.js';
import { runOnNode } from '../node-shell.js';
import { follow } from '../progress.js';
import type { Releases } from '../releases.js';
import { withKeys } from '../request.js';
import { print } from '../terminal.js';
import { userKey } from '../user-key.js';

export interface Show {
  readonly client: ClusterClient;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
  readonly releases: Releases;
}

/** A site that has no base image yet makes it before it can plan: a minute and more on a small machine. */
export const planSeconds = 300;
const examples = join(import.meta.dirname, '../../../../examples');

export async function planMpi(show: Show): Promise<{ rsl: string; plan: PlanView }> {
  const rsl = readFileSync(join(examples, 'mpi.rsl'), 'utf8');
  return { rsl, plan: await show.client.plan({ rsl }, { signal: show.signal, seconds: planSeconds }) };
}

/** Creates it and follows it until it is ready. Its destruction is registered before anything can fail. */
export async function createCluster(show: Show, rsl: string): Promise<ClusterView> {
  const { client, signal, say } = show;
  say('creating the cluster');
  const { id } = await client.createCluster(randomUUID(), { rsl: withKeys(rsl, [userKey().publicLine]) });
  show.releases.add(() => destroyCluster({ ...show, signal: new AbortController().signal }, id));
  const cluster = await follow({ client, id, signal, out: process.stdout });
  if (cluster.state === 'ready') return cluster;
  throw new GridError('unavailable', `cluster ${id} did not become ready but ${cluster.state}: ${cluster.reason ?? 'no reason given'}`, { hint: 'the logs of gatekeeper and heads: gridvc grid status' });
}

/** Repeatable: a cluster that is gone is fine. */
export async function destroyCluster(show: Show, id: string): Promise<void> {
  const { client, signal } = show;
  const state = await client.getCluster(id, { signal }).then((cluster) => cluster.state, (error: unknown) => {
    if (isGridError(error, 'not-found')) return 'destroyed' as const;
    throw error;
  });
  if (state === 'destroyed') return;
  const began = Date.now();
  if (!isFinal(state)) await client.destroyCluster(id, { signal });
  const quiet = { isTTY: false, write: () => true } as unknown as NodeJS.WriteStream;
  await follow({ client, id, signal, out: quiet, until: 'final' });
  show.say(`cluster ${id} is destroyed (${((Date.now() - began) / 1000).toFixed(1)} s)`);
}

/** Compiles examples/hello-mpi.c on n1 and runs it on every node. @throws if a node stays silent */
export async function runMpi(show: Show, cluster: ClusterView): Promise<void> {
  const access = await show.client.getAccess(cluster.id, { signal: show.signal });
  const others = cluster.nodes.map(({ name }) => name).filter((name) => name !== 'n1');
  const onFirst = (command: string, input?: string): Promise<string[]> => run(show, cluster.id, { access, node: 'n1', command, ...(input === undefined ? {} : { input }) });
  show.say('copying examples/hello-mpi.c to n1, compiling it there, copying the program to the other nodes');
  await onFirst('cat > hello-mpi.c', readFileSync(join(examples, 'hello-mpi.c'), 'utf8'));
  await onFirst(`mpicc -o hello-mpi hello-mpi.c && for node in ${others.join(' ')}; do scp -q hello-mpi $node: || exit 1; done`);
  show.say('mpirun ./hello-mpi');
  const lines = await onFirst('mpirun ./hello-mpi');
  const silent = cluster.nodes.filter(({ name }) => !lines.some((line) => new RegExp(`hello from ${name}\\b`).test(line)));
  if (silent.length > 0) throw new GridError('internal', `the MPI program was not heard from ${silent.map(({ name }) => name).join(', ')}`);
}

async function run(show: Show, cluster: string, options: Pick<Parameters<typeof runOnNode>[0], 'access' | 'node' | 'command'> & { input?: string }): Promise<string[]> {
  const lines: string[] = [];
  const errors: string[] = [];
  const onLine = (line: string, from: 'stdout' | 'stderr'): void => {
    (from === 'stdout' ? lines : errors).push(line);
    print(`           ${options.node}: ${line}`);
  };
  const code = await runOnNode({ ...options, client: show.client, cluster, privateKey: userKey().privateKey, signal: show.signal, onLine });
  if (code !== 0) throw new GridError('unavailable', `"${options.command}" on ${options.node} ended with ${code}: ${errors.at(-1) ?? 'it said nothing'}`);
  return lines;
}
