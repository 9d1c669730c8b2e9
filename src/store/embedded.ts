/**
 * A private PostgreSQL from Debian's binaries, in a state directory, reachable only through a unix
 * socket in a directory that only its own user (and root) can enter. It outlives the process that
 * started it: the next one adopts it. It never runs as root.
 */
import { createHash } from 'node:crypto';
import { chmod, chown, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GridError } from '../domain/error.js';
import type { Log } from '../log.js';
import { runCommand } from '../proc/command.js';
import type { CommandResult } from '../ports.js';

const settings = `# written by gridvc (src/store/embedded.ts)
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = 64MB
max_wal_size = 256MB
wal_level = minimal
max_wal_senders = 0
log_min_messages = warning
`;

export interface Postgres {
  /** Connection URL of a database of this server; openDatabase creates a missing one. */
  url(database: string): string;
  /** Fast shutdown; returns when it is down. */
  stop(): Promise<void>;
}

interface Place {
  readonly bin: string;
  readonly data: string;
  readonly sockets: string;
  readonly log: string;
  /** Words before each command that drop root. */
  readonly as: readonly string[];
  readonly user: string;
}

/**
 * Starts (or adopts) the server under `home`/postgres; initdb the first time (about 1 s).
 * `unavailable` if the binaries are missing or it does not start; the message has its log's path.
 */
export async function startPostgres(options: { home: string; log: Log }): Promise<Postgres> {
  const place = await prepare(options.home);
  if ((await pgCtl(place, ['status'])).code !== 0) {
    await initialise(place);
    const started = await pgCtl(place, ['-w', '-t', '60', '-l', place.log, 'start']);
    if (started.code !== 0) throw new GridError('unavailable', `the private PostgreSQL did not start: ${started.reason}`, { hint: `see ${place.log}` });
    options.log.info({ data: place.data }, 'private PostgreSQL started');
  }
  return {
    url: (database) => `postgresql://${place.user}@localhost/${database}?host=${encodeURIComponent(place.sockets)}`,
    stop: () => stopPostgres(options),
  };
}

/** Stops the server under `home`, if it runs. */
export async function stopPostgres(options: { home: string }): Promise<void> {
  const place = await prepare(options.home);
  if ((await pgCtl(place, ['status'])).code !== 0) return;
  const stopped = await pgCtl(place, ['-w', '-t', '60', '-m', 'fast', 'stop']);
  if (stopped.code !== 0) throw new GridError('unavailable', `the private PostgreSQL did not stop: ${stopped.reason}`, { hint: `see ${place.log}` });
}

async function prepare(home: string): Promise<Place> {
  const root = join(home, 'postgres');
  const bin = await binaries();
  const isRoot = process.getuid?.() === 0;
  await mkdir(root, { recursive: true });
  // unix socket paths end at 107 bytes: a deep state directory gets a short stand-in
  const near = join(root, 'run');
  const sockets = near.length < 80 ? near : join('/tmp', `gridvc-pg-${createHash('sha256').update(root).digest('hex').slice(0, 16)}`);
  const place = { bin, data: join(root, 'data'), sockets, log: join(root, 'log'), as: isRoot ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups', '--'] : [], user: 'gridvc' };
  await mkdir(sockets, { recursive: true, mode: 0o700 });
  if (!isRoot) return place;
  const owner = await postgresIds();
  await chown(root, owner.uid, owner.gid);
  await chown(sockets, owner.uid, owner.gid);
  await chmod(root, 0o700);
  await chmod(sockets, 0o700);
  const reach = await runCommand([...place.as, 'test', '-w', root]);
  if (reach.code !== 0) throw new GridError('unavailable', `the user "postgres" cannot reach ${root}`, { hint: `let others pass through the directories above it: chmod o+x ${home}` });
  return place;
}

async function initialise(place: Place): Promise<void> {
  if (await stat(join(place.data, 'PG_VERSION')).catch(() => undefined)) return;
  const made = await runCommand([...place.as, join(place.bin, 'initdb'), '-D', place.data, '-U', place.user, '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-instructions'], { seconds: 60 });
  if (made.code !== 0) throw new GridError('unavailable', `initdb failed: ${made.reason}`);
  await writeFile(join(place.data, 'postgresql.auto.conf'), `${settings}unix_socket_directories = '${place.sockets}'\n`);
}

function pgCtl(place: Place, words: readonly string[]): Promise<CommandResult> {
  return runCommand([...place.as, join(place.bin, 'pg_ctl'), '-D', place.data, '-s', ...words], { seconds: 90 });
}

/** Debian keeps several versions side by side; the newest wins. */
async function binaries(): Promise<string> {
  const versions = await readdir('/usr/lib/postgresql').catch(() => [] as string[]);
  const newest = versions.filter((name) => /^\d+$/.test(name)).sort((a, b) => Number(b) - Number(a))[0];
  if (newest === undefined) throw new GridError('unavailable', 'PostgreSQL is not installed', { hint: 'apt-get install postgresql, or set `database:` to the URL of a server' });
  return join('/usr/lib/postgresql', newest, 'bin');
}

async function postgresIds(): Promise<{ uid: number; gid: number }> {
  const [uid, gid] = await Promise.all(['-u', '-g'].map((flag) => runCommand(['id', flag, 'postgres'])));
  if (uid?.code !== 0 || gid?.code !== 0) throw new GridError('unavailable', 'the system user "postgres" is missing', { hint: 'apt-get install postgresql' });
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
}
