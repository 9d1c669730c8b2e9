/** The fetched .debs that builds share. */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Removes .debs, longest unused first (they are linked or read at each use), until at most `most` bytes are left.
 * @returns bytes freed
 */
export async function trimArchives(directories: readonly string[], most: number): Promise<number> {
  const files: { path: string; bytes: number; used: number }[] = [];
  for (const dir of new Set(directories)) {
    for (const name of await readdir(dir).catch(() => [])) {
      const file = name.endsWith('.deb') ? await stat(join(dir, name)).catch(() => undefined) : undefined;
      if (file !== undefined) files.push({ path: join(dir, name), bytes: file.size, used: file.ctimeMs }); // a link changes ctime
    }
  }
  let over = files.reduce((sum, { bytes }) => sum + bytes, 0) - most;
  let freed = 0;
  for (const { path, bytes } of files.sort((a, b) => a.used - b.used)) {
    if (over <= 0) break;
    await rm(path, { force: true });
    over -= bytes;
    freed += bytes;
  }
  return freed;
}
