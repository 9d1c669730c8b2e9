/** Errands of the clients' own tools (job-errand.ts): output that is kept here is handed out, or removed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { JobError } from './job-error.js';
import type { Errand } from './job-errand.js';
import { readPath, type JobRow } from './job-records.js';
import { unlessAborted, type JobTools, type LiveJob } from './live-job.js';
import { codes, states } from './protocol.js';

const followMilliseconds = 200;

/** Does it; the exit code that the tool's own program would have had. */
export async function runErrand(live: LiveJob, tools: JobTools, errand: Errand): Promise<number> {
  if (live.row.phase === 'running') throw new JobError(codes.systemCancelled, 'the gatekeeper was started again in the middle of it; do it again');
  await tools.records.enter(live.id, 'running', states.active);
  tools.news.tell(live.row, () => live.credential, { state: states.active, failureCode: 0 });
  return errand.kind === 'clean' ? clean(live, tools, errand.contacts) : getOutput(live, tools, errand);
}

/** The job of a contact, if it is the caller's. */
async function jobOf(live: LiveJob, tools: JobTools, contact: string): Promise<JobRow | undefined> {
  const path = readPath(tools.contacts.pathOf(contact) ?? '');
  const row = path && (await tools.records.job(path.id));
  return row?.secret === path?.secret && row?.owner === live.row.owner ? row : undefined;
}

async function getOutput(live: LiveJob, tools: JobTools, errand: Errand & { kind: 'get-output' }): Promise<number> {
  const job = await jobOf(live, tools, errand.contact);
  const there = job !== undefined && (await tools.kept.read(job.id, errand.stream, 0)) !== undefined;
  if (!there) {
    await say(live, tools, 'stderr', `Error locating ${errand.stream} for job ${errand.contact}\n`);
    return 1;
  }
  const lines = errand.tail ?? errand.follow;
  let from = lines === undefined ? 0 : await startOfLast(tools, job.id, errand.stream, lines);
  for (;;) {
    const over = errand.follow === undefined || isOver(await tools.records.job(job.id)); // before the last look, so that nothing is missed
    for (let bytes = await tools.kept.read(job.id, errand.stream, from); bytes !== undefined && bytes.length > 0; bytes = await tools.kept.read(job.id, errand.stream, from)) {
      await send(live, tools, `${errand.url}/dev/stdout`, bytes);
      from += bytes.length;
    }
    if (over) return 0;
    await sleep(followMilliseconds, undefined, { signal: live.signal });
  }
}

function isOver(row: JobRow | undefined): boolean {
  return row === undefined || row.phase === 'ending' || row.phase === 'ended';
}

/** Offset at which the last `lines` lines begin. */
async function startOfLast(tools: JobTools, job: string, stream: 'stdout' | 'stderr', lines: number): Promise<number> {
  const starts: number[] = [0];
  for (let from = 0; ; ) {
    const bytes = await tools.kept.read(job, stream, from);
    if (bytes === undefined || bytes.length === 0) break;
    for (let at = bytes.indexOf(0x0a); at >= 0; at = bytes.indexOf(0x0a, at + 1)) {
      starts.push(from + at + 1);
      if (starts.length > lines + 1) starts.shift();
    }
    from += bytes.length;
  }
  const size = await tools.kept.size(job, stream);
  const begun = starts.filter((at) => at < size);
  return begun.at(-lines) ?? begun[0] ?? 0;
}

async function clean(live: LiveJob, tools: JobTools, contacts: readonly string[]): Promise<number> {
  const jobs = await Promise.all(contacts.map((contact) => jobOf(live, tools, contact)));
  const theirs = jobs.flatMap((job) => job ?? []);
  for (const { id } of theirs) {
    await tools.kept.remove(id);
    await tools.records.dropKept(id);
  }
  await say(live, tools, 'stdout', theirs.length === contacts.length ? '0\n' : '1\n');
  return 0;
}

/** As a program of the job would print it. */
async function say(live: LiveJob, tools: JobTools, stream: 'stdout' | 'stderr', text: string): Promise<void> {
  for (const to of live.row.request.program?.[stream] ?? []) if (to.kind === 'stream') await send(live, tools, to.url, Buffer.from(text));
}

async function send(live: LiveJob, tools: JobTools, url: string, bytes: Uint8Array): Promise<void> {
  await unlessAborted(live.signal, tools.couriers.appendPiece(url, live.credential, bytes, () => {}));
}
