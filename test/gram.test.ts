/**
 * The Globus clients of Debian, unmodified, on the embedded grid: real clusters, nodes, programs. What goes over the wire is
 * gram-wire.test.ts, what jobs are is gram-jobs.test.ts.
 */
import { spawn } from 'node:child_process';
import { appendFileSync, chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import pg from 'pg';
import t from 'tap';
import { gridLayout } from '../src/cli/grid/layout.js';
import { userKey } from '../src/cli/user-key.js';
import type { ClusterView } from '../src/domain/views.js';
import { issueCertificate, issueProxy, makeKey, type Issuer } from '../src/pki/issue.js';
import { printRsl } from '../src/rsl/print.js';
import type { RslNode, RslValue } from '../src/rsl/tree.js';
import { hasClients, runClient, type Ran } from './support/gram-world.js';
import { gridvc, prepareHome, root, testHome, whyNoGrid } from './support/grid.js';
import { holdings, leaked } from './support/leaks.js';

const why = whyNoGrid() ?? (hasClients ? undefined : 'globusrun is not installed (gridvc setup --tests)');
if (why !== undefined) t.test('Globus clients', { skip: why }, async () => {});
else {
  const layout = gridLayout(testHome, ['alpha', 'beta']);
  const scratch = mkdtempSync(join(tmpdir(), 'gridvc-gram-'));
  const sites = ['alpha', 'beta'].map((site) => join(testHome, 'grid', `head-${site}`, 'host1', 'nodes'));
  const state = (place: string): string => join(testHome, 'grid', 'gatekeeper', 'state', place);
  const places = ['hubs', 'clusters', 'gram/credentials', 'gram/kept', 'gram/progress'].map(state).concat(sites);
  prepareHome();
  t.setTimeout(1_200_000);
  let standing: ClusterView;
  let before: ReturnType<typeof holdings>;

  const json = <T>(ran: { stdout: string; stderr: string; code: number | null }): T => {
    if (ran.code !== 0) throw new Error(`exit ${ran.code}: ${ran.stderr}`);
    return JSON.parse(ran.stdout) as T;
  };
  /** Runs a client as Alice (whose grid it is), or with another proxy. */
  const run = (words: readonly string[], options: { proxy?: string; seconds?: number; killAfter?: number } = {}): Promise<Ran> =>
    runClient(words, { X509_CERT_DIR: layout.trust, X509_USER_PROXY: options.proxy ?? layout.user.proxy, HOME: scratch, TMPDIR: scratch, LOGNAME: 'alice' }, { seconds: 120, ...options });
  const globusrun = (flags: readonly string[], rsl: string, options: { proxy?: string; killAfter?: number } = {}): Promise<Ran> => run(['globusrun', ...flags, '-r', 'localhost', rsl], options);
  const contactOf = (ran: Ran): string => /https:\/\/\S+/.exec(ran.out)?.[0] ?? `no contact in ${ran.out}${ran.err}`;
  const status = async (contact: string): Promise<string> => (await run(['globusrun', '-status', contact])).out.trim();
  const until = async (contact: string, wanted: RegExp, seconds = 60): Promise<string> => {
    for (const deadline = Date.now() + seconds * 1000; ; await sleep(200)) {
      const seen = await status(contact);
      if (wanted.test(seen) || Date.now() > deadline) return seen;
    }
  };
  const clusters = async (): Promise<readonly ClusterView[]> => json(await gridvc(['list', '--json']));
  const rows = async (text: string): Promise<Record<string, unknown>[]> => {
    const client = new pg.Client({ host: join(testHome, 'grid', 'postgres', 'run'), user: 'gridvc', database: 'gatekeeper', options: '-c search_path=gatekeeper' });
    await client.connect();
    const { rows: found } = await client.query<Record<string, unknown>>(text);
    await client.end();
    return found;
  };
  const file = (name: string, text: string, mode = 0o600): string => {
    writeFileSync(join(scratch, name), text, { mode });
    chmodSync(join(scratch, name), mode);
    return join(scratch, name);
  };
  const on = (rsl: string): string => `&(cluster=${standing.id})${rsl}`;
  const sh = (script: string): string => `(executable=/bin/sh)(arguments=-c "${script.replaceAll('"', '""')}")`;

  t.before(async () => {
    for (const words of [['grid', 'up'], ['proxy', 'init'], ['plan', '--count', '2', '--placement', 'spread']]) {
      const ran = await gridvc(words, { seconds: 400 });
      if (ran.code !== 0) throw new Error(`gridvc ${words.join(' ')}: ${ran.stderr}`);
    }
    before = holdings(places);
    standing = json(await gridvc(['create', '--wait', '--json', '--count', '2', '--exact'], { seconds: 300 }));
  });
  t.teardown(async () => {
    await gridvc(['grid', 'down']);
    rmSync(scratch, { recursive: true, force: true });
  });

  t.test('a program on a cluster of its own: built, run, streamed, gone', async (t) => {
    const running = globusrun(['-s'], `&(count=2)(placement=spread)(max_wall_time=5)${sh('echo from `hostname`; sleep 1.5')}`);
    let seen: ClusterView | undefined;
    for (let i = 0; i < 100 && seen?.state !== 'ready'; i++, await sleep(100)) seen = (await clusters()).find(({ id }) => id !== standing.id);
    const ran = await running;
    t.match(ran, { code: 0 }, ran.err);
    t.same(ran.out.trim().split('\n').sort(), ['from n1', 'from n2']);
    t.equal(seen?.state, 'ready', 'gridvc list saw it');
    t.equal(seen?.count, 2);
    for (let i = 0; i < 50 && (await clusters()).length > 1; i++) await sleep(100);
    t.same((await clusters()).map(({ id }) => id), [standing.id], 'and it is gone');
    t.match(await rows(`select text from events where cluster = '${seen?.id}' and text like 'job %'`), [{ text: /^job \w+ is done, exit code 0$/ }], 'its story has the job');
  });

  t.test('an MPI program over both sites', async (t) => {
    const source = file('hello.sh', '#!/bin/sh\necho rank $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE, $WORD, $(test -r $X509_USER_PROXY && echo proxy)\n', 0o755);
    const ran = await run(['globusrun', '-s', '-r', 'localhost', `&(executable=$(GLOBUSRUN_GASS_URL)${source})(count=4)(job_type=mpi)(bundles=c-dev mpi)(placement=spread)(environment=(WORD "two words"))`], { seconds: 400 });
    t.match(ran, { code: 0 }, ran.err);
    t.same(ran.out.trim().split('\n').sort(), [0, 1, 2, 3].map((rank) => `rank ${rank} of 4, two words, proxy`));
  });

  t.test('on a cluster that stands: files both ways, words, places, codes', async (t) => {
    const script = file('work.sh', '#!/bin/sh\nprintf "<%s>" "$@"; echo; cat; pwd; echo problem >&2; cat /tmp/staged; echo result > /tmp/result; exit 7\n', 0o755);
    const input = file('input', 'standard input\n');
    const ran = await run(['globus-job-run', 'localhost', '-x', on('(directory=/tmp)(file_stage_in=($(GLOBUSRUN_GASS_URL)' + file('staged', 'staged in\n') + ' /tmp/staged))(file_clean_up=/tmp/staged)'), '-stdin', '-s', input, '-s', script, 'a b', "it's", '$HOME "quoted" \\']);
    t.match(ran, { code: 0 }, ran.err);
    t.equal(ran.out, '<a b><it\'s><$HOME "quoted" \\>\nstandard input\n/tmp\nstaged in\n');
    t.equal(ran.err, 'problem\n');
    const out = join(scratch, 'out.txt');
    const written = await globusrun(['-w'], on(`${sh('echo to a file; ls /tmp/staged /tmp/result')}(job_type=single)(stdout=$(GLOBUSRUN_GASS_URL)${out})(stderr=$(GLOBUSRUN_GASS_URL)${out}.err)(file_stage_out=(/tmp/result $(GLOBUSRUN_GASS_URL)${out}.result))`));
    t.match(written, { code: 0 }, written.err);
    t.equal(readFileSync(out, 'utf8'), 'to a file\n/tmp/result\n', 'what was staged in is cleaned up');
    t.match(readFileSync(`${out}.err`, 'utf8'), /staged/);
    t.equal(readFileSync(`${out}.result`, 'utf8'), 'result\n');
    const large = await globusrun(['-s'], on(sh('seq 1 400000')));
    t.equal(large.out, Array.from({ length: 400_000 }, (_, i) => `${i + 1}\n`).join(''), 'three megabytes');
    const begun = Date.now();
    let first = 0;
    const live = spawn('globusrun', ['-s', '-r', 'localhost', on(sh('echo now; sleep 2'))], { env: { PATH: process.env['PATH'], X509_CERT_DIR: layout.trust, X509_USER_PROXY: layout.user.proxy, GLOBUS_HOSTNAME: 'localhost' }, stdio: ['ignore', 'pipe', 'ignore'] });
    live.stdout.on('data', () => (first ||= Date.now() - begun));
    await new Promise((resolve) => live.once('close', resolve));
    t.ok(first < 1500, `the first line after ${first} ms, while the program slept`);
    for (const site of sites) t.notOk(readdirSync(site, { recursive: true, encoding: 'utf8' }).some((path) => /\.gridvc\/./.test(path)), 'nothing of the jobs is left on the nodes');
  });

  let overlong = '';
  t.test('a program may run as long as it may: begun now, looked at in the end', async (t) => {
    overlong = contactOf(await globusrun(['-F'], on(`${sh('sleep 1000')}(max_wall_time=1)`)));
    t.match(await until(overlong, /ACTIVE/), /ACTIVE/);
  });

  t.test('refusals: each with its code and a text that says why', async (t) => {
    const cases: readonly [string, number, RegExp][] = [
      ['&(executable=/bin/date)(colour=red)', 1, /"colour" is not supported/],
      ['&(executable=/bin/date)(count=0)', 14, /count is "0"/],
      ['&(executable=$(NOBODY))', 39, /NOBODY/],
      ['&(arguments=x)', 81, /no executable/],
      ['&(executable=/bin/date)(bundles=nosuch)', 3, /nosuch/],
      ['&(executable=/bin/date)(packages=octve)', 48, /octve[^]*octave/],
      [on('(executable=/no/such)'), 5, /there is no executable \/no\/such/],
      [on('(executable=/bin/date)(directory=/no/such)'), 4, /no directory \/no\/such/],
      [on('(executable=/bin/date)(job_type=mpi)'), 98, /bundles=mpi/],
      [on('(executable=$(GLOBUSRUN_GASS_URL)/no/such)'), 43, /\/no\/such/],
      [on('(executable=/bin/cat)(stdin=$(GLOBUSRUN_GASS_URL)/no/such)'), 44, /\/no\/such/],
      ['&(cluster=zzzzzzz9)(executable=/bin/date)', 3, /zzzzzzz9/],
    ];
    const answers = await Promise.all(cases.map(([rsl]) => globusrun(['-s'], rsl)));
    for (const [i, [rsl, code, text]] of cases.entries()) {
      t.equal(answers[i]?.code, code, rsl);
      t.match(`${answers[i]?.out}${answers[i]?.err}`, text);
    }
    const dry = await globusrun(['-d'], '&(executable=/bin/date)');
    t.match(dry, { code: 0, err: /Dryrun successful/ });
    t.equal((await globusrun(['-s'], on(`${sh('echo committed')}(two_phase=20)`))).out, 'committed\n', 'two phases');
  });

  t.test("RSL as we print it is RSL to Globus' own parser, and comes back by its printer as it was", async (t) => {
    const text = fc.string({ unit: fc.constantFrom(...'ab "\'^#$()&|+=<>!*%\\\t'), minLength: 1, maxLength: 8 });
    const value: fc.Arbitrary<RslValue> = fc.oneof(
      text.map((word): RslValue => ({ kind: 'literal', text: word })),
      fc.tuple(text, text).map(([one, two]): RslValue => ({ kind: 'concatenation', parts: [{ kind: 'literal', text: one }, { kind: 'literal', text: two }] })),
      text.map((word): RslValue => ({ kind: 'variable', name: 'HOME', fallback: { kind: 'literal', text: word }, at: 0 })),
    );
    const words = fc.sample(fc.array(value, { minLength: 1, maxLength: 4 }), { numRuns: 12, seed: 6 });
    const relation = (attribute: string, values: readonly RslValue[]): RslNode => ({ kind: 'relation', attribute, operator: '=', values, at: 0 });
    const literal = (word: string): RslValue => ({ kind: 'literal', text: word });
    for (const values of words) {
      const rsl = printRsl({ kind: 'boolean', operator: '&', children: [relation('cluster', [literal(standing.id)]), relation('executable', [literal('/usr/bin/printf')]), relation('arguments', [literal('%s\\n'), ...values])], at: 0 });
      const expected = values.map((each) => (each.kind === 'literal' ? each.text : each.kind === 'concatenation' ? each.parts.map((part) => (part.kind === 'literal' ? part.text : '')).join('') : '/home/grid'));
      const ran = await globusrun(['-s'], rsl);
      t.equal(ran.out, expected.map((word) => `${word}\n`).join(''), rsl + ran.err);
    }
  });

  t.test('a cluster that is held: its contact is its handle', async (t) => {
    const key = readFileSync(`${userKey().file}.pub`, 'utf8').trim(); // made by the first gridvc create
    const submitted = await globusrun(['-b'], `&(count=1)(max_wall_time=5)(ssh_key="${key}")`);
    const contact = contactOf(submitted);
    t.equal(submitted.code, 0);
    t.match(await until(contact, /ACTIVE/), /ACTIVE/);
    const held = (await clusters()).find(({ id }) => id !== standing.id);
    t.equal(held?.state, 'ready', 'ACTIVE is verified ready');
    t.match(await gridvc(['exec', held?.id ?? '', '--', 'hostname']), { code: 0, stdout: /n1/ }, 'gridvc uses it');
    t.match(await globusrun(['-s'], `&(cluster=${held?.id})(executable=hostname)`), { code: 0, out: 'n1\n' }, 'so do jobs');
    t.equal((await run(['globusrun', '-k', contact])).code, 0);
    t.equal(await status(contact), 'FAILED');
    for (let i = 0; i < 50 && (await clusters()).length > 1; i++) await sleep(100);
    t.equal((await clusters()).length, 1, 'destroyed');
    t.match(await run(['globusrun', '-status', contact.replace(/\/[0-9a-f]{24}\//, `/${'0'.repeat(24)}/`)]), { out: /DONE/ }, 'a guessed contact is no job (156)');
  });

  t.test('globus-job-submit, -status, -get-output, -clean, -cancel', async (t) => {
    const submit = async (script: string): Promise<string> => contactOf(await run(['globus-job-submit', 'localhost', '-x', on('(job_type=single)'), '/bin/sh', '-c', script]));
    const contact = await submit('for i in 1 2 3; do echo line $i; done; echo trouble >&2; sleep 2; echo end');
    t.match(await until(contact, /ACTIVE/), /ACTIVE/);
    await sleep(300);
    t.equal((await run(['globus-job-get-output', contact])).out, 'line 1\nline 2\nline 3\n', 'while it runs');
    const followed = await run(['globus-job-get-output', '-f', '1', contact]);
    t.equal(followed.out, 'line 3\nend\n', 'followed to its end');
    t.match(await run(['globus-job-status', contact]), { code: 0, out: /^DONE\nexit code: 0/ });
    t.equal((await run(['globus-job-get-output', '-err', contact])).out, 'trouble\n');
    t.equal((await run(['globus-job-get-output', '-t', '2', contact])).out, 'line 3\nend\n');
    t.match(await run(['globus-job-clean', '-f', contact]), { code: 0, out: /Cleanup successful/ });
    t.match(await run(['globus-job-get-output', contact]), { code: 1, err: /Error locating stdout/ });
    const second = await submit('sleep 300');
    await until(second, /ACTIVE/);
    t.match(await run(['globus-job-cancel', '-f', second]), { code: 0, out: /Job canceled/ });
    t.equal(await status(second), 'FAILED');
    t.match(await run(['globus-job-clean', '-f', second]), { code: 0, out: /Cleanup successful/ });
    t.match(await until(second, /FAILED/), /FAILED/);
    t.notMatch((await gridvc(['exec', standing.id, '--', 'ps', '-ef'])).stdout, /sleep 300/, 'its program is gone');
  });

  t.test('another user may not ask about, cancel or use what is not theirs; a limited proxy starts nothing', async (t) => {
    const issuer: Issuer = { certificate: readFileSync(layout.authority.certificate, 'utf8'), key: readFileSync(layout.authority.key, 'utf8') };
    const { key, publicKey } = await makeKey('ec');
    const { certificate } = await issueCertificate({ issuer, subject: '/O=Grid/OU=gridvc/CN=Bob', publicKey, notAfter: new Date(Date.now() + 3_600_000), usage: 'user' });
    const bob = file('bob.pem', certificate + key);
    appendFileSync(layout.gridmap, '"/O=Grid/OU=gridvc/CN=Bob" bob\n');
    await sleep(1500); // the map is looked at once a second
    const contact = contactOf(await globusrun(['-F'], on(sh('sleep 30'))));
    await until(contact, /ACTIVE/);
    t.equal((await run(['globusrun', '-a', '-r', 'localhost'], { proxy: bob })).code, 0, 'Bob is known');
    for (const words of [['-status', contact], ['-k', contact]]) t.equal((await run(['globusrun', ...words], { proxy: bob })).code, 162, words[0] ?? '');
    t.not((await run(['globusrun', '-y', contact], { proxy: bob })).code, 0, '-y');
    t.match(await globusrun(['-s'], on('(executable=hostname)'), { proxy: bob }), { code: 3, err: new RegExp(`no cluster .*${standing.id}`) });
    t.match(await run(['globus-job-get-output', contact], { proxy: bob }), { code: 1, err: /Error locating/ });
    t.equal(await status(contact), 'ACTIVE', 'it runs on');
    t.equal((await run(['globusrun', '-k', contact])).code, 0);
    const user: Issuer = { certificate: readFileSync(layout.user.certificate, 'utf8'), key: readFileSync(layout.user.key, 'utf8') };
    const limited = await issueProxy({ issuer: user, notAfter: new Date(Date.now() + 3_600_000), limited: true, kind: 'ec' });
    const [leaf = '', ...above] = limited.chain.split(/(?=-----BEGIN)/);
    t.equal((await globusrun(['-s'], on('(executable=hostname)'), { proxy: file('limited.pem', leaf + (limited.key ?? '') + above.join('')) })).code, 7);
  });

  t.test('clients that vanish, a proxy that ends, a gatekeeper that is killed: all during jobs', async (t) => {
    const user: Issuer = { certificate: readFileSync(layout.user.certificate, 'utf8'), key: readFileSync(layout.user.key, 'utf8') };
    const short = await issueProxy({ issuer: user, notAfter: new Date(Date.now() + 12_000), kind: 'ec' });
    const [leaf = '', ...above] = short.chain.split(/(?=-----BEGIN)/);
    const shortProxy = file('short.pem', leaf + (short.key ?? '') + above.join(''));
    const ends = 'openssl x509 -enddate -noout -in $X509_USER_PROXY; stat -c %a $X509_USER_PROXY';
    const renewed = contactOf(await globusrun(['-F'], on(`${sh(`${ends}; sleep 14; ${ends}`)}(stdout=x-gass-cache://$(GLOBUS_GRAM_JOB_CONTACT)stdout anExtraTag)`), { proxy: shortProxy })); // globus-job-submit wants three hours
    await until(renewed, /ACTIVE/);
    await sleep(500);
    t.equal((await run(['globusrun', '-y', renewed])).code, 0, 'a longer proxy for the running job');

    const lost = globusrun(['-s'], on(sh('echo before; sleep 4; echo after')), { killAfter: 2500 });
    const batch = contactOf(await globusrun(['-b'], on(sh('sleep 2')))); // its listener is gone when it ends
    const numbers = (count: number): string => sh(`i=0; while [ $i -lt ${count} ]; do i=$((i+1)); echo line $i; echo e$i >&2; sleep 0.05; done; exit 3`);
    const expected = (count: number, word: string): string => Array.from({ length: count }, (_, i) => `${word}${i + 1}\n`).join('');
    const long = globusrun(['-s'], on(numbers(150)));
    const own = globusrun(['-s'], `&(count=1)(max_wall_time=5)${numbers(150)}`);
    await sleep(3500);
    const pid = Number(readFileSync(layout.gatekeeper.pid, 'utf8'));
    process.kill(pid, 'SIGKILL');
    await sleep(700);
    t.equal((await gridvc(['grid', 'up'])).code, 0, 'the gatekeeper is started again');
    for (const ran of await Promise.all([long, own])) {
      t.equal(ran.code, 0);
      t.equal(ran.out, expected(150, 'line '), 'not a line lost or twice');
      t.equal(ran.err, expected(150, 'e'));
    }
    t.equal((await lost).code, null, 'the client was killed');
    t.match(await until(batch, /DONE/), /^DONE\nexit code: 0/, 'told to nobody, known to who asks');

    for (let ms = 5; ms < 100; ms += 8) void (await globusrun(['-F'], on('(executable=/bin/true)'), { killAfter: ms }));
    t.match(await globusrun(['-s'], on('(executable=hostname)')), { code: 0, out: 'n1\n' }, 'killed at twelve moments of their submission, they harm nobody');

    t.match(await until(renewed, /DONE/), /DONE/);
    const [first, mode, last, lastMode] = (await run(['globus-job-get-output', renewed])).out.trim().split('\n');
    t.ok(Date.parse(last?.replace('notAfter=', '') ?? '') > Date.parse(first?.replace('notAfter=', '') ?? '') + 600_000, `${first} became ${last}`);
    t.same([mode, lastMode], ['600', '600']);
    t.equal((await run(['globus-job-clean', '-f', renewed])).code, 0);
    t.match(await until(overlong, /FAILED/, 90), /FAILED/, 'a minute is over, in the next gatekeeper');
    t.match(await rows("select failure_code from jobs where reason like '%max_wall_time of 1 minutes%'"), [{ failure_code: 9 }]);
    t.notMatch((await gridvc(['exec', standing.id, '--', 'ps', '-ef'])).stdout, /sleep 1000/, 'and its program');
    for (let i = 0; i < 300 && (await rows("select 1 from jobs where phase <> 'ended'")).length > 0; i++) await sleep(200);
    t.match(await rows("select failure_code, reason from jobs where reason like '%could not be delivered%'"), [{ failure_code: 155 }], 'the output of the killed client went nowhere, and that is said');
  });

  t.test('the audit has everybody, and nothing is left', async (t) => {
    const audit = await rows("select distinct username, finished_flag, resource_manager_type from gram_audit_table");
    t.ok(audit.every((row) => row['finished_flag'] === 'true' && row['resource_manager_type'] === 'gridvc'));
    t.ok(audit.length > 0);
    t.equal((await gridvc(['destroy', '--wait', standing.id])).code, 0);
    t.same(await leaked(before, places, 10), [], 'no process, mount, namespace, link, cgroup, file');
    t.same(existsSync(state('gram/credentials')) ? readdirSync(state('gram/credentials')) : [], [], 'no credential');
    t.same(await rows("select cluster from allocations where released is null"), []);
    t.ok(existsSync(join(root, 'docs', 'gram.md')));
  });
}
