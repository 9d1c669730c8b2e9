/** A real PostgreSQL for one test file, gone afterwards. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { makeLog } from '../../src/log.js';
import { startPostgres, type Postgres } from '../../src/store/embedded.js';

/** Starts it in a directory of its own; the test's teardown stops it and removes the directory. */
export async function testPostgres(t: Pick<Test, 'teardown'>): Promise<Postgres & { home: string }> {
  const home = await mkdtemp(join(tmpdir(), 'gridvc-test-'));
  await chmod(home, 0o711);
  t.teardown(() => rm(home, { recursive: true, force: true }));
  const server = await startPostgres({ home, log: makeLog('test', 'error') });
  t.teardown(() => server.stop());
  return { ...server, home };
}
