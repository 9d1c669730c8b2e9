/**
 * The only importer of `pg`. A Database runs named queries of one query file in one schema.
 * Opening migrates the schema first (migrate.ts). Queries are prepared once per connection.
 */
import pg from 'pg';
import { GridError } from '../domain/error.js';
import { migrate } from './migrate.js';
import { loadQueries } from './queries.js';

pg.types.setTypeParser(20, Number); // int8: ours are counters and bytes, below 2^53

export interface Database {
  /** All rows of a named query. */
  rows<T>(query: string, ...parameters: unknown[]): Promise<T[]>;
  /** The first row, or undefined. */
  row<T>(query: string, ...parameters: unknown[]): Promise<T | undefined>;
  /** One transaction: committed when `work` resolves, rolled back when it rejects. */
  transaction<T>(work: (tx: Database) => Promise<T>): Promise<T>;
  /**
   * The same database, whose commits do not wait for the disk (2 ms each): for rows that only tell, such as events and
   * timings. A crash of the process loses none; a crash of the machine may lose the last half second of them.
   * In a transaction it is the transaction.
   */
  readonly soon: Database;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  /** postgresql://... ; a database that does not exist yet is created. */
  readonly url: string;
  readonly schema: string;
  /** Directory of NNNN-name.sql files. */
  readonly migrations: string;
  /** Query file. */
  readonly queries: string;
  readonly connections?: number;
}

/** Opens, creates the database if it is missing, and migrates. `unavailable` if the server does not answer. */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const queries = loadQueries(options.queries);
  await createIfMissing(options.url);
  const pool = openPool(options, 'on');
  try {
    await migrate(pool, options.schema, options.migrations);
  } catch (error) {
    await pool.end();
    throw describe(error, options.url);
  }
  const soonPool = openPool(options, 'off');
  return new PooledDatabase(pool, queries, new PooledDatabase(soonPool, queries));
}

function openPool(options: DatabaseOptions, synchronous: 'on' | 'off'): pg.Pool {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.connections ?? 8,
    // generic plans: our statements go by keys, and planning cost more (1.2 ms) than running (0.3 ms)
    options: `-c search_path=${options.schema} -c synchronous_commit=${synchronous} -c plan_cache_mode=force_generic_plan`,
    application_name: `gridvc-${options.schema}`,
    idleTimeoutMillis: 30_000,
    connectionTimeoutMillis: 10_000,
  });
  pool.on('error', () => {}); // an idle connection died; the next query gets a new one or says why not
  return pool;
}

type Queryable = { query(config: { name: string; text: string; values: unknown[] }): Promise<{ rows: unknown[] }> };

class BoundDatabase {
  constructor(
    private readonly target: Queryable,
    protected readonly queries: ReadonlyMap<string, string>,
  ) {}

  async rows<T>(query: string, ...parameters: unknown[]): Promise<T[]> {
    const text = this.queries.get(query);
    if (text === undefined) throw new Error(`no query named ${query}`);
    try {
      return (await this.target.query({ name: query, text, values: parameters })).rows as T[];
    } catch (error) {
      throw describe(error, query);
    }
  }

  async row<T>(query: string, ...parameters: unknown[]): Promise<T | undefined> {
    return (await this.rows<T>(query, ...parameters))[0];
  }
}

class PooledDatabase extends BoundDatabase implements Database {
  readonly soon: Database;

  constructor(
    private readonly pool: pg.Pool,
    queries: ReadonlyMap<string, string>,
    soon?: Database,
  ) {
    super(pool, queries);
    this.soon = soon ?? this;
  }

  async transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> {
    const client = await this.pool.connect().catch((error: unknown) => {
      throw describe(error, 'begin');
    });
    let broken = false;
    try {
      await client.query('begin');
      const result = await work(new TransactionDatabase(client, this.queries));
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback').catch(() => (broken = true));
      throw error;
    } finally {
      client.release(broken);
    }
  }

  async close(): Promise<void> {
    if (this.soon !== this) await this.soon.close();
    await this.pool.end();
  }
}

class TransactionDatabase extends BoundDatabase implements Database {
  get soon(): Database {
    return this; // one transaction, one fate
  }

  transaction<T>(work: (tx: Database) => Promise<T>): Promise<T> {
    return work(this);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

async function createIfMissing(url: string): Promise<void> {
  const probe = new pg.Client({ connectionString: url });
  try {
    await probe.connect();
  } catch (error) {
    if (!(error instanceof pg.DatabaseError && error.code === '3D000')) throw describe(error, url);
    const name = new URL(url).pathname.slice(1);
    const admin = new URL(url);
    admin.pathname = '/postgres';
    const client = new pg.Client({ connectionString: admin.href });
    await client.connect();
    try {
      await client.query(`create database ${pg.escapeIdentifier(name)}`);
    } catch (race) {
      if (!(race instanceof pg.DatabaseError && (race.code === '42P04' || race.code === '23505'))) throw race;
    } finally {
      await client.end();
    }
  } finally {
    await probe.end().catch(() => {});
  }
}

/** Connection trouble becomes `unavailable`; database errors stay what they are. */
function describe(error: unknown, what: string): unknown {
  const code = (error as { code?: unknown }).code;
  const connection = typeof code === 'string' && (/^(ECONN|ENOENT|EPIPE|ETIMEDOUT|EACCES)/.test(code) || /^(08|57P)/.test(code));
  if (!connection && !(error instanceof Error && /Connection terminated|timeout exceeded/.test(error.message))) return error;
  return new GridError('unavailable', `the database does not answer (${what.replace(/:[^:@/]*@/, ':***@')}): ${(error as Error).message}`, {
    hint: 'check that PostgreSQL runs and that the database URL in the configuration is right',
    cause: error,
  });
}
