/**
 * Migrations are numbered files, forward only, each in its own transaction, applied under an
 * advisory lock so that two processes starting at once do not both run them.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type pg from 'pg';

const filePattern = /^(\d{4})-[a-z0-9-]+\.sql$/;

/** Brings `schema` up to the newest file of `directory`; refuses a schema that is newer than the files. */
export async function migrate(pool: pg.Pool, schema: string, directory: string): Promise<void> {
  const files = readdirSync(directory).filter((file) => filePattern.test(file)).sort();
  const client = await pool.connect();
  try {
    await client.query(`select pg_advisory_lock(hashtext($1))`, [`gridvc-migrate-${schema}`]);
    await client.query(`create schema if not exists "${schema}"`);
    await client.query(`create table if not exists migrations (number int primary key, file text not null, applied timestamptz not null default now())`);
    const { rows } = await client.query<{ last: number }>(`select coalesce(max(number), 0) as last from migrations`);
    const last = rows[0]?.last ?? 0;
    const newest = Number(files.at(-1)?.slice(0, 4) ?? 0);
    if (last > newest) throw new Error(`schema ${schema} is at migration ${last}, this gridvc knows only ${newest}: install the newer gridvc again`);
    for (const file of files) {
      const number = Number(file.slice(0, 4));
      if (number > last) await apply(client, number, file, readFileSync(join(directory, file), 'utf8'));
    }
  } finally {
    await client.query(`select pg_advisory_unlock_all()`).catch(() => {});
    client.release();
  }
}

async function apply(client: pg.PoolClient, number: number, file: string, sql: string): Promise<void> {
  try {
    await client.query('begin');
    await client.query(sql);
    await client.query('insert into migrations (number, file) values ($1, $2)', [number, file]);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw new Error(`migration ${file} failed: ${(error as Error).message}`, { cause: error });
  }
}
