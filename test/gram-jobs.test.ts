/**
 * Jobs of GRAM without a grid: what RSL means; rows, audit and the service on a real PostgreSQL, with clusters that are only
 * told of. Their runner is gram-runner.test.ts, real clients on real nodes are gram.test.ts.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import pg from 'pg';
import t from 'tap';
import { Authorizer } from '../gatekeeper/authorization/authorizer.js';
import { ClusterRecords } from '../gatekeeper/cluster/records.js';
import { makeContacts } from '../gatekeeper/gram/contact.js';
import { errandOf } from '../gatekeeper/gram/job-errand.js';
import { JobError } from '../gatekeeper/gram/job-error.js';
import { layOut } from '../gatekeeper/gram/job-layout.js';
import { JobRecords, newJobId, newSecret, readPath } from '../gatekeeper/gram/job-records.js';
import { readJobRequest, type JobRequest, type Program } from '../gatekeeper/gram/job-request.js';
import { rslVariables } from '../gatekeeper/gram/job-variables.js';
import { Jobs } from '../gatekeeper/gram/jobs.js';
import type { Couriers, JobCredential, JobState, Submission } from '../gatekeeper/gram/port.js';
import { checkRequest } from '../src/domain/request-check.js';
import { GridError } from '../src/domain/error.js';
import type { Caller, ClusterView } from '../src/domain/views.js';
import { makeLog } from '../src/log.js';
import type { ClusterService } from '../src/ports.js';
import { openDatabase } from '../src/store/database.js';
import { testPostgres } from './support/postgres.js';

t.setTimeout(300_000);
const contacts = makeContacts({ host: 'gate.example.org', port: 2119, subject: '/O=Grid/CN=gatekeeper' });
const alice: Caller = { subject: '/O=Grid/CN=Alice', account: 'alice', roles: ['user'], issuer: '/O=Grid/CN=CA', fqans: [], vo: '', limited: false, notAfter: Date.now() + 36e5, certificateNotAfter: Date.now() + 36e6 };
const variables = rslVariables({ id: 'jobjob00', secret: '0'.repeat(24), caller: alice }, contacts);
const read = (rsl: string): JobRequest => readJobRequest(rsl, { variables, account: 'alice', lifetime: 10_080 });
const programOf = (rsl: string): Program => read(rsl).program ?? t.fail('no program') as never;
/** "CODE text" of the refusal. */
const refusal = (rsl: string): string => {
  try {
    read(rsl);
    return 'accepted';
  } catch (error) {
    if (error instanceof JobError) return `${error.code} ${error.message}`;
    throw error;
  }
};

t.test('what RSL means', async (t) => {
  const mpi = read('&(executable=/bin/hello)(count=8)(job_type=mpi)(bundles=mpi)');
  t.match(mpi, { place: { kind: 'new' }, program: { type: 'mpi', count: 8, wallMinutes: 60, executable: { kind: 'node', path: '/bin/hello' } }, dryRun: false });
  const cluster = (request: JobRequest): ReturnType<typeof checkRequest> => checkRequest({ attributes: new Map(request.place.kind === 'new' ? request.place.attributes : []), files: request.place.kind === 'new' ? request.place.files : [] });
  t.match(cluster(mpi), { count: 8, bundles: ['mpi'], lifetime: 90 }, 'the cluster lives longer than the program may run');
  const hold = read('&(count=8)(bundles=mpi)(max_wall_time=60)(stdout=https://h:5000/dev/stdout)');
  t.equal(hold.program, undefined);
  t.match(cluster(hold), { count: 8, lifetime: 60 }, 'a held cluster lives as long as asked');
  t.match(read('&(cluster=abcdefg1)(executable=a)'), { place: { kind: 'standing', cluster: 'abcdefg1' }, program: { count: 1, type: 'multiple' } });
  t.equal(programOf('&(cluster=abcdefg1)(executable=a)').wallMinutes, undefined);
  t.match(cluster(read('&(executable=a)(count=8)(host_count=4)(vcpus=2)(min_memory=512)')), { count: 4, vcpus: 2, memory: 512 });
  t.match(programOf('&(executable=a)(count=3)(job_type=Single)(max_wall_time=0)(maxCpuTime=2)'), { type: 'single', count: 1, wallMinutes: 60, cpuMinutes: 2 });

  const rich = programOf(`&(executable=$(HOME)/bin/x)(arguments=a "b ""c""" 'd''e' ^%f %% g% "" $(W "x y") h#i)(directory=/tmp)
    (environment=(A 1)(B "two words"))(library_path=/opt/lib /opt/lib64)(stdin=file:///etc/hostname)
    (stdout=(https://h:5000/dev/stdout)(/tmp/out)(x-gass-cache://$(GLOBUS_GRAM_JOB_CONTACT)stdout anExtraTag))(stderr=https://h:5000/home/a/err)
    (file_stage_in=(https://h:5000/a /tmp/a))(file_stage_out=(/tmp/b https://h:5000/b))(file_clean_up=/tmp/a)(scratch_dir=/tmp)(queue=batch)(project=p)(save_state=yes)(gramMyJob=collective)`);
  t.match(rich, {
    executable: { path: '/home/grid/bin/x' },
    arguments: ['a', 'b "c"', "d'e", 'f % g', '', 'x y', 'hi'],
    environment: [['A', '1'], ['B', 'two words'], ['LD_LIBRARY_PATH', '/opt/lib:/opt/lib64']],
    stdin: { kind: 'node', path: '/etc/hostname' },
    stdout: [{ kind: 'stream' }, { kind: 'node', path: '/tmp/out' }, { kind: 'kept' }],
    stderr: [{ kind: 'file', url: 'https://h:5000/home/a/err' }],
    stageIn: [{ url: 'https://h:5000/a', path: '/tmp/a' }],
    stageOut: [{ path: '/tmp/b', url: 'https://h:5000/b' }],
    cleanUp: ['/tmp/a'],
    scratch: true,
  });
  t.equal(rich.arguments.length, 7);
  t.match(programOf('&("rsl_substitution" = ("GLOBUSRUN_GASS_URL" "https://c:5000" ) )("stdout" = $("GLOBUSRUN_GASS_URL") # "/dev/stdout" )("executable" = $("GLOBUSRUN_GASS_URL") # "/home/a/x" )'), { executable: { url: 'https://c:5000/home/a/x' }, stdout: [{ url: 'https://c:5000/dev/stdout' }] }, 'as globusrun prints it');
  t.same([read('&(executable=a)(two_phase=yes)').twoPhase, read('&(executable=a)(twoPhase=7)').twoPhase, read('&(executable=a)(two_phase=no)').twoPhase], [60, 7, undefined]);
  t.ok(read('&(executable=a)(dryrun=YES)').dryRun);
});

t.test('what is refused, with which code', async (t) => {
  const cases: readonly [string, RegExp][] = [
    ['&(executable=a)(foo=1)', /^1 the RSL attribute "foo" is not supported by the LRM adapter/],
    ['&(executable=a)(memroy=1)', /^1 .*"memroy".*did you mean memory/],
    ['&(executable=a)(count=0)', /^14 count is "0"; allowed: whole numbers from 1/],
    ['&(executable=a)(count=two)', /^14 /],
    ['&(executable=a)(host_count=x)', /^35 /],
    ['&(executable=a)(job_type=vanilla)', /^19 .*single, multiple, mpi/],
    ['&(executable=a)(job_type=condor)', /^26 /],
    ['&(executable=a)(max_wall_time=-1)', /^102 /],
    ['&(executable=a)(max_wall_time=99999999)', /^102 .*10080/],
    ['&(executable=a)(max_time=x)', /^13 /],
    ['&(executable=a)(max_cpu_time=x)', /^104 /],
    ['&(executable=a)(min_memory=x)', /^86 /],
    ['&(executable=a)(environment=A)', /^54 .*pairs/],
    ['&(executable=a)(environment=(A=B 1))', /^48 /],
    ['&(executable=a)(environment=("A B" 1))', /^54 "A B" is not the name/],
    ['&(executable=a)(directory=a b)', /^52 directory takes one value/],
    ['&(executable=(a b))', /^55 /],
    ['&(executable=gsiftp://h/x)', /^55 executable is a gsiftp URL/],
    ['&(executable=a)(stdout=ftp://h/x)', /^65 /],
    ['&(executable=a)(stdin=https)(stdin=b)', /^48 .*stdin is given twice/],
    ['&(executable=a)(two_phase=maybe)', /^115 /],
    ['&(executable=a)(dry_run=maybe)', /^53 /],
    ['&(executable=a)(stdout_position=5)', /^117 /],
    ['&(executable=a)(username=bob)', /^167 .*mapped to "alice"/],
    ['&(executable=a)(restart=https://x/)', /^120 .*outlive/],
    ['&(executable=a)(file_stage_in=https://h/x)', /^141 .*pairs/],
    ['&(executable=$(NOBODY))', /^39 .*"NOBODY" is not defined/],
    ['&(executable=a', /^48 RSL line 1/],
    ['', /^48 /],
    ['+(&(executable=a))(&(executable=b))', /^48 .*several parts \(\+\)/],
    ['|(executable=a)(executable=b)', /^48 /],
    ['&(executable>a)', /^48 .*compared by >/],
    ['&(arguments=a)', /^81 arguments is given, but no executable/],
    ['&(cluster=abcdefg1)', /^81 .*say what to run/],
    ['&(cluster=../x)(executable=a)', /^3 /],
    ['&(cluster=abcdefg1)(executable=a)(packages=gcc)', /^36 packages describes a cluster/],
  ];
  for (const [rsl, expected] of cases) t.match(refusal(rsl), expected, rsl);
  const word = fc.string({ unit: fc.constantFrom(...'&|+()="\'^#$ <>ab/:-'), maxLength: 60 });
  fc.assert(fc.property(word, (text) => typeof refusal(text) === 'string' && typeof refusal(`&(executable=a)(arguments=${text})`) === 'string'), { numRuns: 2000 });
});

t.test('errands of the clients, known by what they run', async (t) => {
  const contact = contacts.of('/jobjob00/0123456789abcdef01234567/');
  t.same(errandOf(programOf(`&(executable=https://c:5000//usr/bin/globus-job-get-output-helper)(arguments=anExtraTag "${contact}" stderr 5 no https://c:5000)`)), { kind: 'get-output', contact, stream: 'stderr', tail: 5, url: 'https://c:5000' });
  const clean = `bad=0; $bindir/globus-gass-cache -cleanup-url x-gass-cache://${contact}stdout >/dev/null 2>/dev/null; if test $? != 0; then bad=1; fi ; $bindir/globus-gass-cache -cleanup-url x-gass-cache://${contact}stderr  >/dev/null; echo $bad;`;
  t.same(errandOf(programOf(`&(executable=$(GLOBUS_LOCATION)/bin/globus-sh-exec)(arguments=-exec '${clean}')`)), { kind: 'clean', contacts: [contact] });
  t.same(read(`&(executable=$(GLOBUS_LOCATION)/bin/globus-sh-exec)(arguments=-exec '${clean}')`).place, { kind: 'none' }, 'no cluster is made for one');
  t.equal(errandOf(programOf('&(executable=/usr/bin/globus-sh-exec)(arguments=-exec "rm -rf /")')), undefined, 'other scripts are programs');
  t.match(readPath(contacts.pathOf(contact) ?? ''), { id: 'jobjob00' });
});

t.test('which node runs what', async (t) => {
  const nodes = ['n1', 'n2', 'n3'];
  t.same(layOut({ type: 'single', count: 1 }, nodes, 2).runners, [{ node: 'n1', processes: 1 }]);
  t.same(layOut({ type: 'multiple', count: 7 }, nodes, 2).runners.map(({ processes }) => processes), [3, 2, 2]);
  t.same(layOut({ type: 'mpi', count: 3 }, nodes, 2), { runners: [{ node: 'n1', processes: 3 }], others: ['n2'], hosts: 'n1 slots=2\nn2 slots=2\n', crowded: false });
  t.equal(layOut({ type: 'mpi', count: 7 }, nodes, 2).crowded, true);
  fc.assert(fc.property(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 40 }), (count, size) => {
    const { runners } = layOut({ type: 'multiple', count }, Array.from({ length: size }, (_, i) => `n${i + 1}`), 1);
    return runners.reduce((sum, { processes }) => sum + processes, 0) === count && runners.every(({ processes }) => processes > 0);
  }));
});

// ---------------------------------------------------------------- the service

class TestCouriers implements Couriers {
  readonly told: JobState[] = [];
  readonly shown = new Map<string, string>();
  async callback(url: string, _credential: JobCredential, state: JobState): Promise<'delivered' | 'gone'> {
    this.told.push(state);
    return url.includes('gone') ? 'gone' : 'delivered';
  }
  async append(url: string, _credential: JobCredential, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const piece of bytes) this.shown.set(url, (this.shown.get(url) ?? '') + Buffer.from(piece).toString());
  }
  async appendPiece(url: string, _credential: JobCredential, piece: Uint8Array): Promise<void> {
    this.shown.set(url, (this.shown.get(url) ?? '') + Buffer.from(piece).toString());
  }
  async read(): Promise<Uint8Array> {
    throw new GridError('not-found', 'nothing there');
  }
}

t.test('the service: contacts, owners, commits, refusals, restarts', async (t) => {
  const postgres = await testPostgres(t);
  const sql = join(import.meta.dirname, '../../sql/gatekeeper');
  const db = await openDatabase({ url: postgres.url('jobs'), schema: 'gatekeeper', migrations: sql, queries: join(sql, 'queries.sql') });
  t.teardown(() => db.close());
  const log = makeLog('test', 'silent');
  const clusterRecords = new ClusterRecords(db);
  const couriers = new TestCouriers();
  const downs: string[] = [];
  let refuse: GridError | undefined;
  const asked: string[] = [];
  const clusters = {
    createCluster: async (caller: Caller, key: string): Promise<ClusterView> => {
      if (refuse) throw refuse;
      const id = `c${key.slice(-7)}`;
      asked.push(key);
      await db.rows('insertCluster', id, caller.subject, key, '', '{"count":1,"memory":1,"lifetime":60,"vcpus":1}', [], new Date(Date.now() + 3_600_000), new Date(Date.now() + 3_600_000), new Date(), '', new Date(Date.now() + 3_600_000));
      return { id } as ClusterView;
    },
    plan: async () => ({ predictedSeconds: 1, sites: [] }),
    getCluster: async (_caller: Caller, id: string) => { throw new GridError('not-found', `there is no cluster ${id}`); },
    extendLifetime: async () => { throw new GridError('wrong-state', 'no'); },
  } as unknown as ClusterService;
  const open = (): Promise<Jobs> => Jobs.open({ db, home: postgres.home, clusters, clusterRecords, tasks: { down: async (id) => void (downs.push(id), await clusterRecords.become(id, 'destroying')), hub: () => undefined }, secrets: { read: async () => undefined }, authorizer: new Authorizer({}, log), couriers, contacts, lifetime: 10_080, log });
  let service = await open();
  t.teardown(() => service.close());
  const credential: JobCredential = { chain: 'chain', key: 'key', notAfter: new Date(Date.now() + 3_600_000), limited: true };
  const submission = (rsl: string, more: Partial<Submission> = {}): Submission => ({ caller: alice, rsl, service: 'jobmanager', credential, callback: { url: 'https://c:5000/', mask: 0xfffff }, ...more });
  const submit = async (rsl: string, more: Partial<Submission> = {}): Promise<string> => {
    const { status, path, text } = await service.submit(submission(rsl, more));
    if (path === undefined || (status !== 0 && status !== 110)) throw new Error(`${status} ${text}`);
    service.submitted(path);
    return path;
  };
  const until = async (path: string, state: number): Promise<Awaited<ReturnType<Jobs['status']>>> => {
    for (let i = 0; i < 500; i++) {
      const answer = await service.status(alice, path);
      if (answer.state === state) return answer;
      await sleep(20);
    }
    throw new Error(`not in state ${state} in time`);
  };
  const bob = { ...alice, subject: '/O=Grid/CN=Bob', account: 'bob' };

  await t.test('refusals of a submission', async (t) => {
    t.match(await service.submit(submission('&(executable=a)', { caller: { ...alice, limited: true } })), { status: 7, text: /limited proxy may not submitJob/ });
    t.match(await service.submit(submission('&(executable=a)', { caller: { ...alice, roles: [] } })), { status: 7 });
    const { credential: _none, ...bare } = submission('&(executable=a)');
    t.match(await service.submit(bare), { status: 29 });
    t.match(await service.submit(submission('&(executable=a)(dryrun=yes)')), { status: 41 });
    t.match(await service.submit(submission('&(executable=a)(cluster=zzzzzzz9)')), { status: 3, text: /no cluster zzzzzzz9/ });
    refuse = new GridError('quota', 'too many clusters');
    t.match(await service.submit(submission('&(executable=a)')), { status: 3, text: /too many clusters/ });
    refuse = undefined;
    t.equal(await new JobRecords(db).count(alice.subject), 0, 'nothing of them lives');
  });

  await t.test('a job waits for its cluster, is asked about by its owner only, and cancelled', async (t) => {
    const path = await submit('&(count=2)(max_wall_time=5)');
    t.match(await service.status(alice, path), { state: 1, failureCode: 0 });
    t.match(await service.status(bob, path), { state: 4, failureCode: 162 });
    t.match(await service.cancel(bob, path), { failureCode: 162 });
    t.match(await service.renew(bob, path, credential), { failureCode: 162 });
    t.match(await service.status({ ...bob, roles: ['grid-admin'] }, path), { state: 1 }, 'an administrator sees it');
    t.match(await service.status(alice, path.replace(/[0-9a-f]{24}/, '0'.repeat(24))), { state: 0, failureCode: 156 }, 'with a guessed secret it does not exist');
    t.match(await service.status(alice, '/x/'), { failureCode: 156 });
    for (const [signal, argument, code] of [[5, '', 133], [10, '', 133], [6, '5', 133], [99, '', 108], [2, 'x', 107], [7, '', 91], [7, '&(foo=1)', 94], [8, 'x', 91], [1, '', 91]] as const) t.equal((await service.signal(alice, path, signal, argument)).failureCode, code, `signal ${signal}`);
    t.match(await service.unregister(alice, path, 'https://other:1/'), { state: 4, failureCode: 78 });
    t.match(await service.register(alice, path, { url: 'https://gone:1/', mask: 0xfffff }), { failureCode: 0 });
    t.match(await service.cancel(alice, path), { state: 4, failureCode: 0, jobFailureCode: 8, text: /cancelled by its owner/ });
    for (let i = 0; i < 500 && (downs.length === 0 || !couriers.told.some(({ state }) => state === 4)); i++) await sleep(20);
    t.match(couriers.told.map(({ state }) => state).slice(0, 1), [1]);
    t.match(couriers.told.at(-1), { state: 4, failureCode: 8 });
    t.equal(downs.length, 1, 'its cluster is taken down');
    t.match(await service.cancel(alice, path), { state: 4, failureCode: 0 }, 'again: nothing to do');
  });

  await t.test('a cluster that fails fails the job with its reason', async (t) => {
    const path = await submit('&(executable=a)');
    const cluster = `c${asked.at(-1)?.slice(-7)}`;
    await clusterRecords.become(cluster, 'failed', 'package x does not install');
    t.match(await until(path, 4), { jobFailureCode: 17, text: /package x does not install/ });
  });

  await t.test('two phases: nothing begins before the commit, and what is not committed is dropped', async (t) => {
    const before = asked.length;
    const path = await submit('&(executable=a)(two_phase=1)');
    t.match(await service.status(alice, path), { state: 32 });
    t.match(await service.signal(alice, path, 6, '1'), { failureCode: 0 }, 'extended');
    t.equal(asked.length, before);
    t.match(await until(path, 4), { jobFailureCode: 111 });
    t.match(await service.signal(alice, path, 5, ''), { failureCode: 94 }, 'too late');
    const second = await submit('&(executable=a)(two_phase=30)');
    t.match(await service.signal(alice, second, 5, ''), { failureCode: 0 });
    await until(second, 1);
    t.equal(asked.length, before + 1, 'committed: its cluster is asked for');
    t.match(await service.signal(alice, second, 10, ''), { failureCode: 94 }, 'its end cannot be committed before it comes');
    await service.cancel(alice, second);
    t.match(await service.signal(alice, second, 10, ''), { failureCode: 0 });
  });

  await t.test('a gatekeeper that starts again takes jobs up, or ends them clearly', async (t) => {
    const path = await submit('&(count=1)(max_wall_time=5)');
    const uncommitted = await submit('&(executable=a)(two_phase=100)');
    const [id, secret] = [newJobId(), newSecret()];
    await new JobRecords(db).insert({ id, secret, caller: alice, service: 'jobmanager', rsl: '', request: read('&(executable=a)'), phase: 'arriving' });
    await service.close();
    service = await open();
    t.match(await until(`/${id}/${secret}/`, 4), { jobFailureCode: 29 }, 'its credential never came to be');
    t.match(await service.status(alice, path), { state: 1 });
    t.match(await service.status(alice, uncommitted), { state: 32 });
    const cluster = `c${asked.at(-1)?.slice(-7)}`;
    await clusterRecords.advance(cluster, 'ready');
    t.match(await until(path, 2), { failureCode: 0 }, 'ACTIVE when the cluster is ready');
    await db.rows('setLease', cluster, new Date(Date.now() - 1000), new Date(), new Date());
    await clusterRecords.become(cluster, 'destroying');
    t.match(await until(path, 8), { failureCode: 0 }, 'a held cluster whose lease ended is DONE');
    await service.cancel(alice, uncommitted);
  });

  await t.test('the audit table of the original, over our rows', async (t) => {
    const client = new pg.Client({ connectionString: postgres.url('jobs') });
    await client.connect();
    const { rows: audit } = await client.query<Record<string, string | null>>('select * from gatekeeper.gram_audit_table');
    await client.end();
    t.same(Object.keys(audit[0] ?? {}), ['job_grid_id', 'local_job_id', 'subject_name', 'username', 'idempotence_id', 'creation_time', 'queued_time', 'stage_in_grid_id', 'stage_out_grid_id', 'clean_up_grid_id', 'globus_toolkit_version', 'resource_manager_type', 'job_description', 'success_flag', 'finished_flag', 'gateway_user']);
    const done = audit.find((row) => row['success_flag'] === 'true');
    t.match(done, { subject_name: '/O=Grid/CN=Alice', username: 'alice', finished_flag: 'true', job_description: '&(count=1)(max_wall_time=5)', creation_time: /^\d{4}-\d\d-\d\dT/ });
    t.ok(audit.some((row) => row['finished_flag'] === 'true' && row['success_flag'] === 'false'), 'failed ones, too');
    t.notOk(audit.some((row) => /[0-9a-f]{24}/.test(row['job_grid_id'] ?? '')), 'the secret of a contact is not in it');
  });
});
