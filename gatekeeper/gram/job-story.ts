/**
 * The story of a job, from its submission to its end:
 *
 *   commit     wait for the client's second word, if it wants a two-phase submission
 *   place      a cluster of its own, asked for like any other; or one that stands
 *   ready      the cluster is verified
 *   stage in   files from the client
 *   run        on the nodes, detached; its output is followed
 *   deliver    what is left of the output, and files for the client
 *   conclude   the outcome is told, the cluster given back, the credential removed
 *
 * Each step notes in the job's row that it was begun, and may run again after a crash: it then does what is left.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { RawRequest } from '../../src/domain/request.js';
import { runErrand } from './errands.js';
import { JobError, jobErrorOf } from './job-error.js';
import { layOut, type Layout } from './job-layout.js';
import type { Outcome } from './job-records.js';
import type { Program } from './job-request.js';
import { attend, cleanNodes, killProcesses, packageFor, prepareNode, renewProxies, type Attendance } from './job-runner.js';
import { lateError, openOutlets, stageIn, stageOut, stagesIn, stagesOut } from './job-staging.js';
import { unlessAborted, type JobTools, type LiveJob } from './live-job.js';
import { codes, states } from './protocol.js';

const retrySeconds = { first: 0.5, most: 30 };
/** A proxy that ended so recently is why its cluster did. */
const expirySlack = 3000;

/** Tells it to its end, or to that of the gatekeeper. Never rejects. */
export async function tellStory(live: LiveJob, tools: JobTools): Promise<void> {
  const { log } = tools;
  const outcome = await outcomeOf(live, tools);
  if (outcome === undefined) return;
  log.info({ job: live.id, cluster: live.cluster, state: outcome.state, code: outcome.failureCode, exitCode: outcome.exitCode, reason: outcome.reason }, 'GRAM job ended');
  for (let pause = retrySeconds.first; !tools.closing.aborted; pause = Math.min(pause * 2, retrySeconds.most)) {
    try {
      return await conclude(live, tools, outcome);
    } catch (error) {
      log.warn({ err: error, job: live.id }, 'concluding a job failed; trying again');
      await sleep(pause * 1000, undefined, { signal: tools.closing }).catch(() => {});
    }
  }
}

/** Undefined if the gatekeeper ends before the job does. */
async function outcomeOf(live: LiveJob, tools: JobTools): Promise<Outcome | undefined> {
  const { row } = live;
  if (row.state === states.done || row.state === states.failed) return { state: row.state, failureCode: row.failureCode, ...(row.exitCode === null ? {} : { exitCode: row.exitCode }), ...(row.reason === null ? {} : { reason: row.reason }) };
  try {
    const exitCode = await run(live, tools);
    return { state: states.done, failureCode: 0, ...(exitCode === undefined ? {} : { exitCode }) };
  } catch (error) {
    const failure = live.ending ?? jobErrorOf(error);
    if (failure === undefined && tools.closing.aborted) return undefined;
    if (failure === undefined) tools.log.error({ err: error, job: live.id }, 'a GRAM job failed');
    return { state: states.failed, failureCode: failure?.code ?? codes.jobExecutionFailed, reason: failure?.message ?? `internal error, reference ${live.id}` };
  }
}

/** The exit code of its program, if it has one. */
async function run(live: LiveJob, tools: JobTools): Promise<number | undefined> {
  const { program, errand } = live.row.request;
  await committed(live);
  await place(live, tools);
  if (errand !== undefined) return runErrand(live, tools, errand);
  const cluster = live.cluster ?? '';
  await tools.watch.ready(cluster, live.signal);
  if (live.renewedBy) await lengthenLease(live, tools);
  if (program === undefined) return hold(live, tools);
  const unwatch = tools.watch.ended(cluster, (_how, failure) => live.end(byProxy(live, failure)));
  try {
    return await runProgram(live, tools, program);
  } finally {
    unwatch();
  }
}

async function committed(live: LiveJob): Promise<void> {
  if (live.row.phase === 'arriving') throw new JobError(codes.systemCancelled, 'the gatekeeper ended before it had answered this submission');
  if (live.row.phase !== 'uncommitted') return;
  while (!live.committed.aborted) {
    const left = (live.row.commitBy?.getTime() ?? 0) - Date.now();
    if (left <= 0) throw new JobError(codes.commitTimedOut, 'the commit did not come in time; the job was dropped');
    await unlessAborted(live.signal, Promise.race([sleep(Math.min(left, 1000)), untilAborted(live.committed)]));
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve(), { once: true })));
}

/** Asks for its cluster, under a key of its own: asking again after a crash gives the same. PENDING when it has one. */
export async function place(live: LiveJob, tools: JobTools): Promise<void> {
  const { row } = live;
  if (row.phase !== 'arriving' && row.phase !== 'uncommitted') return;
  const { place: where } = row.request;
  if (where.kind === 'new') {
    const raw: RawRequest = { attributes: new Map(where.attributes), files: where.files };
    live.cluster = (await tools.clusters.createCluster(row.caller, clusterKey(live.id), raw)).id;
  } else if (where.kind === 'standing') live.cluster = where.cluster;
  await tools.records.placed(live.id, live.cluster);
  live.row = { ...row, phase: 'waiting', state: states.pending, cluster: live.cluster ?? null };
  tools.news.tell(row, () => live.credential, { state: states.pending, failureCode: 0 });
}

export function clusterKey(id: string): string {
  return `gram-${id}`;
}

/** The cluster itself is what is wanted: ACTIVE until its lease ends. */
async function hold(live: LiveJob, tools: JobTools): Promise<undefined> {
  await become(live, tools, 'running', states.active);
  let unwatch = (): void => {};
  const end = new Promise<void>((resolve, reject) => {
    unwatch = tools.watch.ended(live.cluster ?? '', (how, failure) => (how === 'lease' && !proxyEnded(live) ? resolve() : reject(byProxy(live, failure))));
  });
  await unlessAborted(live.signal, end).finally(unwatch);
}

function proxyEnded(live: LiveJob): boolean {
  return live.credential.notAfter.getTime() <= Date.now() + expirySlack;
}

/** A lease ends no later than its owner's proxy. */
function byProxy(live: LiveJob, failure: JobError): JobError {
  if (failure.code !== codes.systemCancelled || !proxyEnded(live)) return failure;
  return new JobError(codes.proxyExpired, `${failure.message}, with the delegated proxy; renew it in time with globusrun -y`);
}

async function runProgram(live: LiveJob, tools: JobTools, program: Program): Promise<number> {
  const wasRunning = live.row.phase === 'running' || live.row.phase === 'delivering';
  const attendances = wasRunning ? await resume(live, tools, program) : await tools.turn(() => start(live, tools, program));
  const nodes = attendances.map(({ node }) => node);
  const overtime = watchTime(live, program);
  try {
    const codesOfAll = await unlessAborted(live.signal, Promise.all(attendances.map(({ ended }) => ended)));
    clearTimeout(overtime);
    await deliver(live, tools, program, nodes);
    return codesOfAll.find((code) => code !== 0) ?? 0;
  } finally {
    clearTimeout(overtime);
  }
}

/** Stages in, sends everything to the nodes, starts the runners. ACTIVE when all run. */
async function start(live: LiveJob, tools: JobTools, program: Program): Promise<readonly Attendance[]> {
  live.signal.throwIfAborted();
  if (stagesIn(program)) await become(live, tools, 'staging', states.stageIn);
  else await tools.records.enter(live.id, 'staging');
  const [staged, layout] = await Promise.all([stageIn(live, tools, program), chooseNodes(live, tools, program)]);
  await openOutlets(live, tools, program, await tools.records.putRunners(live.id, layout.runners));
  const job = { program, layout, staged };
  if (layout.others.length > 0) {
    const files = await packageFor(live, tools, job, 0);
    await Promise.all(layout.others.map((node) => prepareNode(live, tools, node, files)));
  }
  const packages = new Map<number, Uint8Array>(); // nodes with as many processes share one: it may be large
  for (const { processes } of layout.runners) if (!packages.has(processes)) packages.set(processes, await packageFor(live, tools, job, processes));
  const attendances = layout.runners.map(({ node, processes }) => attend(live, tools, node, packages.get(processes)));
  await unlessAborted(live.signal, Promise.all(attendances.map(({ started }) => started)));
  await become(live, tools, 'running', states.active);
  live.row = { ...live.row, phase: 'running', started: new Date() };
  return attendances;
}

/** Goes on following the runners that an earlier gatekeeper started. */
async function resume(live: LiveJob, tools: JobTools, program: Program): Promise<readonly Attendance[]> {
  const rows = await tools.records.runners(live.id);
  await openOutlets(live, tools, program, rows);
  return rows.map(({ node }) => attend(live, tools, node, undefined));
}

async function chooseNodes(live: LiveJob, tools: JobTools, program: Program): Promise<Layout> {
  const cluster = live.cluster ?? '';
  const [nodes, { request }] = await Promise.all([tools.clusterRecords.nodes(cluster), tools.clusterRecords.cluster(cluster)]);
  const ready = nodes.filter(({ state }) => state === 'ready').map(({ name }) => name);
  if (ready.length === 0) throw new JobError(codes.noResources, `cluster ${cluster} has no node that is ready`);
  return layOut(program, ready, request.vcpus);
}

function watchTime(live: LiveJob, program: Program): NodeJS.Timeout | undefined {
  if (program.wallMinutes === undefined) return undefined;
  const end = (live.row.started?.getTime() ?? Date.now()) + program.wallMinutes * 60_000;
  return setTimeout(() => live.end(new JobError(codes.systemCancelled, `it ran longer than its max_wall_time of ${program.wallMinutes} minutes`)), Math.max(0, end - Date.now()));
}

async function deliver(live: LiveJob, tools: JobTools, program: Program, nodes: readonly string[]): Promise<void> {
  if (stagesOut(program)) await become(live, tools, 'delivering', states.stageOut);
  await unlessAborted(live.signal, Promise.all([...live.outlets.values()].map((outlet) => outlet.drained())));
  const lost = [...live.outlets.values()].flatMap((outlet) => outlet.failure ?? [])[0];
  if (lost !== undefined) throw lateError(live.credential, `output of the program could not be delivered to ${lost}`);
  await stageOut(live, tools, program, nodes);
}

async function become(live: LiveJob, tools: JobTools, phase: 'staging' | 'running' | 'delivering', state: number): Promise<void> {
  if (!(await tools.records.enter(live.id, phase, state))) throw live.ending ?? new JobError(codes.userCancelled, 'the job was cancelled');
  tools.news.tell(live.row, () => live.credential, { state, failureCode: 0 });
}

/** May run again until it succeeds. */
async function conclude(live: LiveJob, tools: JobTools, outcome: Outcome): Promise<void> {
  const { records, news } = tools;
  live.over();
  await records.finish(live.id, outcome);
  const { state, failureCode, exitCode, reason: text } = outcome;
  news.tell(live.row, () => live.credential, { state, failureCode, ...(exitCode === undefined ? {} : { exitCode }), ...(text === undefined ? {} : { text }) });
  await Promise.all([giveBack(live, tools, outcome), news.told(live.id)]);
  await records.end(live.id, keepsOutput(live) ? new Date(Date.now() + tools.limits.keptDays * 86_400_000) : undefined);
  await tools.credentials.remove(live.id);
  live.progress?.close();
  tools.progress.remove(live.id);
  news.close(live.id);
}

function keepsOutput({ row: { request } }: LiveJob): boolean {
  return [...(request.program?.stdout ?? []), ...(request.program?.stderr ?? [])].some(({ kind }) => kind === 'kept');
}

/** Its own cluster is taken down; on one that stands only what is the job's is removed. */
async function giveBack(live: LiveJob, tools: JobTools, outcome: Outcome): Promise<void> {
  const { request, owner } = live.row;
  if (request.place.kind === 'new') {
    const cluster = live.cluster ?? (await tools.records.clusterOf(owner, clusterKey(live.id)));
    if (cluster === undefined) return;
    await tools.clusterRecords.event(cluster, { kind: 'state', text: describe(live, outcome) });
    await tools.tasks.down(cluster);
  } else if (request.place.kind === 'standing') {
    const nodes = (await tools.records.runners(live.id)).map(({ node }) => node);
    const used = nodes.length > 0 && request.program?.type === 'mpi' ? (await tools.clusterRecords.nodes(live.cluster ?? '')).filter(({ state }) => state === 'ready').map(({ name }) => name) : nodes;
    if (outcome.state === states.failed) await killProcesses(live, tools, used);
    await cleanNodes(live, tools, used, request);
  }
}

function describe({ id }: LiveJob, { state, exitCode, reason }: Outcome): string {
  if (state === states.failed) return `job ${id} failed: ${reason ?? 'no reason is known'}`;
  return exitCode === undefined ? `job ${id} is done` : `job ${id} is done, exit code ${exitCode}`;
}

/** A renewed credential: for the processes, and for the lease that the old one cut short. */
export async function useRenewedCredential(live: LiveJob, tools: JobTools): Promise<void> {
  const nodes = (await tools.records.runners(live.id)).map(({ node }) => node);
  await Promise.all([renewProxies(live, tools, nodes), lengthenLease(live, tools)]);
}

async function lengthenLease(live: LiveJob, tools: JobTools): Promise<void> {
  const { cluster, renewedBy } = live;
  if (cluster === undefined || renewedBy === undefined || live.row.request.place.kind !== 'new') return;
  const [{ created, request }, owned] = await Promise.all([tools.clusterRecords.cluster(cluster), tools.clusterRecords.owned(cluster)]);
  if (owned?.state !== 'ready') return;
  const asked = created.getTime() + request.lifetime * 60_000;
  const minutes = Math.ceil((asked - Date.now()) / 60_000);
  if (minutes > 0 && owned.expires.getTime() < asked) await tools.clusters.extendLifetime(renewedBy, cluster, minutes);
}
