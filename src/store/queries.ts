/**
 * Query files: SQL lives in sql/, in blocks of one statement each, under a line `-- :name`.
 * Comments before a block's statement belong to it. Names are unique in a file.
 */
import { readFileSync } from 'node:fs';

/** Reads a query file; throws if a name comes twice or a block is empty. */
export function loadQueries(file: string): ReadonlyMap<string, string> {
  return parseQueries(readFileSync(file, 'utf8'), file);
}

export function parseQueries(text: string, file = 'queries'): ReadonlyMap<string, string> {
  const queries = new Map<string, string>();
  const blocks = text.split(/^-- :([A-Za-z][A-Za-z0-9]*)[ \t]*$/m);
  for (let i = 1; i < blocks.length; i += 2) {
    const name = blocks[i] ?? '';
    const sql = (blocks[i + 1] ?? '').trim().replace(/;$/, '');
    if (queries.has(name)) throw new Error(`${file}: query ${name} is there twice`);
    if (sql === '') throw new Error(`${file}: query ${name} is empty`);
    queries.set(name, sql);
  }
  return queries;
}
