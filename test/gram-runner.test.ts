/** The program of a GRAM job on its node, in a real shell of this machine; and its output on the way to where it is wanted. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { packFiles } from '../gatekeeper/gram/job-layout.js';
import type { Program } from '../gatekeeper/gram/job-request.js';
import { cleanLine, followLine, killLine, readLine, renewLine, runScript, startLine } from '../gatekeeper/gram/job-scripts.js';
import { Outlet, type Sink } from '../gatekeeper/gram/output.js';
import { ProgressFiles } from '../gatekeeper/gram/progress.js';
import { GridError } from '../src/domain/error.js';

t.setTimeout(300_000);

const home = mkdtempSync(join(tmpdir(), 'gridvc-runner-'));
t.teardown(() => rmSync(home, { recursive: true, force: true }));
const shell = (line: string, input?: Uint8Array): { ended: Promise<{ code: number | null; signal: string | null; out: string; err: string }>; kill(): void; text(): string } => {
  const child = spawn('sh', ['-c', line], { env: { ...process.env, HOME: home }, stdio: ['pipe', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  child.stdin.on('error', () => {}).end(input ?? '');
  return { ended: new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, out, err }))), kill: () => void child.kill('SIGKILL'), text: () => out };
};
const base: Program = {
  executable: { kind: 'node', path: '/bin/sh' },
  arguments: [],
  environment: [],
  type: 'multiple',
  count: 1,
  stdout: [{ kind: 'stream', url: 'https://c:5000/dev/stdout' }],
  stderr: [{ kind: 'stream', url: 'https://c:5000/dev/stderr' }],
  stageIn: [],
  stageOut: [],
  cleanUp: [],
  scratch: false,
};
let jobs = 0;
const prepare = async (program: Partial<Program>, processes = 1): Promise<{ job: string; tar: Uint8Array }> => {
  const job = `runner${String(jobs++).padStart(2, '0')}`;
  const run = runScript({ job, program: { ...base, ...program }, processes, environment: [['X509_USER_PROXY', `${home}/proxy`]], crowded: false });
  return { job, tar: await packFiles([{ name: 'run', mode: 0o700, bytes: Buffer.from(run) }, { name: 'proxy', mode: 0o600, bytes: Buffer.from('old\n') }, { name: 'stdin', mode: 0o600, bytes: Buffer.from('input') }]) };
};
const from = { out: 0, err: 0 };

t.test('a runner starts once, is followed by offset, survives its followers, says how it ended', async (t) => {
  const { job, tar } = await prepare({ arguments: ['-c', 'for i in 1 2 3 4 5 6 7 8; do echo line $i; echo e$i >&2; sleep 0.1; done; exit 7'] });
  const first = shell(startLine(job, from), tar);
  while (!first.text().includes('line 3')) await sleep(20);
  first.kill();
  const got = first.text().replace(/^running\n/, '');
  const again = await shell(startLine(job, { out: got.length, err: 0 }), tar).ended;
  t.equal(again.code, 7);
  t.match(again.out, /^running\n/);
  t.equal(got + again.out.replace(/^running\n/, ''), [1, 2, 3, 4, 5, 6, 7, 8].map((i) => `line ${i}\n`).join(''), 'nothing lost, nothing twice, although it was started twice');
  t.equal(again.err, 'e1\ne2\ne3\ne4\ne5\ne6\ne7\ne8\n');
  t.match(await shell(followLine(job, { out: undefined, err: 20 })).ended, { code: 7, out: 'running\n', err: 'e7\ne8\n'.slice(20 - 18) }, 'after its end, too');
  t.equal((await shell(renewLine(job), Buffer.from('new proxy\n')).ended).code, 0);
  t.equal(readFileSync(join(home, '.gridvc', job, 'proxy'), 'utf8'), 'new proxy\n');
  t.equal((await shell(readLine(job, undefined, 'out')).ended).out.length, 56);
  await shell(cleanLine(job, home, [])).ended;
  t.notOk(existsSync(join(home, '.gridvc', job)));
  t.match(await shell(followLine(job, from)).ended, { code: 0, out: 'lost\n' });
});

t.test('every word arrives as it was written', async () => {
  const words = fc.array(fc.string({ unit: fc.oneof(fc.constantFrom(...'\'"\\$`*?~!#&;|<>(){}[] \n\t-%'), fc.string({ minLength: 1, maxLength: 1, unit: 'binary' })), maxLength: 12 }).map((text) => text.replaceAll('\0', '')), { minLength: 1, maxLength: 5 });
  await fc.assert(fc.asyncProperty(words, words, async (given, [value = '']) => {
    const { job, tar } = await prepare({ executable: { kind: 'node', path: '/usr/bin/env' }, arguments: ['printf', '%s\\0', ...given], environment: [['VALUE', value]] });
    const { out } = await shell(startLine(job, from), tar).ended;
    const { out: seen } = await shell(startLine(`${job}`, from), tar).ended;
    return out === `running\n${given.map((word) => `${word}\0`).join('')}` && seen === out;
  }), { numRuns: 15 });
});

t.test('refusals come before the program, with GRAM codes', async (t) => {
  const refused = async (program: Partial<Program>): Promise<string> => {
    const { job, tar } = await prepare(program);
    return (await shell(startLine(job, from), tar).ended).out.trim();
  };
  const plain = join(home, 'plain');
  writeFileSync(plain, '', { mode: 0o644 });
  t.match(await refused({ directory: '/no/such' }), /^refused 4 there is no directory \/no\/such/);
  t.match(await refused({ executable: { kind: 'node', path: '/no/such' } }), /^refused 5 there is no executable/);
  t.match(await refused({ executable: { kind: 'node', path: 'no-such-program' } }), /^refused 5 .*on the PATH/);
  t.match(await refused({ executable: { kind: 'node', path: plain } }), /^refused 72 /);
  t.match(await refused({ stdin: { kind: 'node', path: '/no/such' } }), /^refused 11 /);
  t.match(await refused({ stdout: [{ kind: 'node', path: '/no/such/out' }] }), /^refused 73 /);
  t.match(await refused({ type: 'mpi', executable: { kind: 'node', path: '/bin/true' }, environment: [['PATH', '/nonexistent']] }), /^refused 98 there is no mpirun/);
  t.match(await refused({ arguments: ['-c', 'echo "$(pwd) $(cat)"'], directory: '/tmp', stdin: { kind: 'gass', url: 'x' } }), /^running\n\/tmp input$/);
});

t.test('several processes, killed all together, whatever they became', async (t) => {
  const { job, tar } = await prepare({ arguments: ['-c', 'echo $GRIDVC_JOB; (trap "" TERM; setsid sleep 60 & sleep 60)'] }, 3);
  const running = shell(startLine(job, from), tar);
  while (running.text().split('\n').length < 5) await sleep(20);
  const alive = (): number => Number(execFileSync('sh', ['-c', `grep -lzxF GRIDVC_JOB=${job} /proc/[0-9]*/environ 2>/dev/null | wc -l; true`], { encoding: 'utf8' }).trim());
  t.ok(alive() >= 7, `${alive()} processes`);
  await shell(killLine(job)).ended;
  t.equal(alive(), 0, 'those in sessions of their own, too');
  t.match(await running.ended, { code: 143, signal: null }, 'the runner stays to tell');
  const codes = await prepare({ arguments: ['-c', 'exit 5'] }, 2);
  t.equal((await shell(startLine(codes.job, from), codes.tar).ended).code, 5);
});

t.test('a node file as stdout is followed as well', async (t) => {
  mkdirSync(join(home, 'files'));
  const { job, tar } = await prepare({ directory: join(home, 'files'), arguments: ['-c', 'echo to file'], stdout: [{ kind: 'node', path: 'out.txt' }, { kind: 'kept' }, { kind: 'node', path: 'copy.txt' }] });
  t.equal((await shell(startLine(job, from), tar).ended).out, 'running\nto file\n');
  t.same(['out.txt', 'copy.txt'].map((name) => readFileSync(join(home, 'files', name), 'utf8')), ['to file\n', 'to file\n']);
});

// ---------------------------------------------------------------- output on its way

t.test('an outlet delivers in order, waits for who is away, and can be sent elsewhere', async (t) => {
  const written = (sink: { text: string }, fail: () => boolean = () => false): Sink => ({ name: 'test', write: async (bytes, left) => { await sleep(1); if (fail()) throw new GridError('unavailable', 'nobody there'); sink.text += Buffer.from(bytes).toString(); left(); } });
  const make = (sinks: readonly Sink[], sent = new Map<string, number>(), patienceSeconds = 0.2): { outlet: Outlet; saved: Map<string, number> } => {
    const saved = new Map<string, number>();
    return { saved, outlet: new Outlet({ sinks, sent, patienceSeconds, signal: new AbortController().signal, note: () => {}, save: async (now) => now.forEach((bytes, node) => saved.set(node, bytes)) }) };
  };
  const [one, two] = [{ text: '' }, { text: '' }];
  let away = 3;
  const { outlet, saved } = make([written(one), written(two, () => away-- > 0)], new Map([['n1', 10]]), 5);
  t.equal(outlet.have('n1'), 10);
  for (let i = 0; i < 50; i++) await outlet.take(i % 2 === 0 ? 'n1' : 'n2', Buffer.from(`${i} `));
  await outlet.drained();
  t.equal(one.text, Array.from({ length: 50 }, (_, i) => `${i} `).join(''));
  t.equal(two.text, one.text, 'the one that was away has it all, and once');
  t.same([...saved], [['n1', 10 + 70], ['n2', 70]]);
  t.equal(outlet.failure, undefined);

  const gone = make([written(one, () => true)]);
  await gone.outlet.take('n1', Buffer.from('x'));
  await gone.outlet.drained();
  t.match(gone.outlet.failure, /nobody there/, 'patience ends after the job');

  const elsewhere = { text: '' };
  const moved = make([written(one, () => true)], new Map(), 5);
  await moved.outlet.take('n1', Buffer.from('kept '));
  await sleep(20);
  moved.outlet.redirect([written(elsewhere)]);
  await moved.outlet.take('n1', Buffer.from('and sent'));
  await moved.outlet.drained();
  t.equal(elsewhere.text, 'kept and sent');
  t.equal(moved.outlet.failure, undefined);
});

t.test('what has left is noted at once, and taken back when it did not arrive', async (t) => {
  const files = await ProgressFiles.open(home);
  const rows = new Map([['n1', 5], ['n2', 0]]);
  const progress = files.of('jobjob00');
  t.same([...progress.since('out', rows)], [['n1', 5], ['n2', 0]]);
  let release = (): void => {};
  let broken = true;
  const text: string[] = [];
  const sink: Sink = {
    name: 'test',
    write: async (bytes, left) => {
      left(); // it is with the system now
      await new Promise<void>((go) => (release = go));
      if (broken) throw new GridError('unavailable', 'the connection broke off');
      text.push(Buffer.from(bytes).toString());
    },
  };
  const outlet = new Outlet({ sinks: [sink], sent: progress.since('out', rows), note: (bytes) => progress.note('out', bytes), save: async () => {}, patienceSeconds: 5, signal: new AbortController().signal });
  const afterKill = (): number | undefined => files.of('jobjob00').since('out', rows).get('n1'); // what the next gatekeeper would read
  await outlet.take('n1', Buffer.from('0123456789'));
  t.equal(afterKill(), 15, 'killed now, it would go on behind them');
  release();
  while (afterKill() !== 5) await sleep(5);
  t.pass('they did not arrive: they will be sent again');
  broken = false;
  while (afterKill() !== 15) await sleep(5);
  release();
  await outlet.drained();
  t.same(text, ['0123456789']);
  progress.close();
  files.remove('jobjob00');
  t.same(await files.jobs(), []);
});
