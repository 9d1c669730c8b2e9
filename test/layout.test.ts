/** The house rules that a machine can read: who may import whom, file sizes. docs/architecture.md has the same table. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import t from 'tap';

const root = join(import.meta.dirname, '..', '..');

/** Folder (or file) to what it may import; the longest matching entry holds. "npm:x" is a package, "node:" any builtin. */
const table: Readonly<Record<string, readonly string[]>> = {
  'src/domain': ['src/domain'],
  'src/ports.ts': ['src/domain', 'node:stream'],
  'src/log.ts': ['npm:pino'],
  'src/settings.ts': ['src/domain', 'npm:yaml', 'npm:zod'],
  'src/proc': ['src/domain', 'src/ports.ts', 'src/log.ts', 'node:'],
  'src/store': ['src/domain', 'src/ports.ts', 'src/log.ts', 'src/proc', 'npm:pg', 'node:'],
  'src/pki': ['src/domain', 'src/log.ts', 'npm:ssh2', 'node:'],
  'src/rsl': ['src/domain'],
  'src/soap': ['src/domain', 'src/ports.ts', 'src/log.ts', 'npm:', 'node:'],
  'src/node': ['src/domain', 'src/ports.ts', 'src/log.ts', 'src/proc', 'npm:ssh2', 'node:'],
  'src/image': ['src/domain', 'src/ports.ts', 'src/log.ts', 'src/proc', 'src/node', 'node:'],
  'src/distribute': ['src/domain', 'src/ports.ts', 'src/log.ts', 'src/proc', 'src/node', 'node:'],
  'src/hypervisor': ['src/domain', 'src/ports.ts', 'src/log.ts', 'src/proc', 'src/node', 'npm:tar-stream', 'node:'],
  'src/overlay': ['src/domain', 'src/ports.ts', 'src/log.ts', 'src/proc', 'src/pki', 'node:'],
  'src/head': ['src/domain', 'src/ports.ts', 'src/log.ts', 'src/settings.ts', 'src/store', 'src/soap', 'src/pki', 'npm:', 'node:'],
  gatekeeper: ['src/domain', 'src/ports.ts', 'src/log.ts', 'src/settings.ts', 'src/node/quote.ts', 'src/pki', 'src/rsl', 'src/overlay', 'src/store', 'src/soap', 'src/proc', 'npm:', 'node:'],
};
const everything = (file: string): boolean => /(^|\/)main\.ts$/.test(file) || file.startsWith('src/cli/') || file.startsWith('test/');
/** One importer each. */
const only: Readonly<Record<string, string>> = { 'npm:pg': 'src/store', 'node:child_process': 'src/proc' };

const files = ['src', 'gatekeeper'].flatMap((folder) => readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((file) => posix.join(folder, file))).filter((file) => file.endsWith('.ts'));

function imports(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => name(file, match[1] ?? ''));
}

function name(file: string, specifier: string): string {
  if (specifier.startsWith('.')) return posix.join(posix.dirname(file), specifier).replace(/\.js$/, '.ts');
  if (specifier.startsWith('node:')) return specifier;
  return `npm:${specifier.startsWith('@') ? specifier.split('/').slice(0, 2).join('/') : (specifier.split('/')[0] ?? '')}`;
}

t.test('who may import whom', async (t) => {
  for (const file of files) {
    const own = posix.dirname(file);
    const key = Object.keys(table).filter((entry) => file === entry || file.startsWith(`${entry}/`)).sort((a, b) => b.length - a.length)[0];
    for (const target of imports(file)) {
      for (const [what, owner] of Object.entries(only)) if (target === what && !file.startsWith(`${owner}/`)) t.fail(`${file} imports ${what}: only ${owner} may`);
      if (everything(file) || key === undefined) continue;
      const allowed = table[key] ?? [];
      const fine = target.startsWith(`${key}/`) || posix.dirname(target) === own || allowed.some((entry) => target === entry || target.startsWith(entry.endsWith(':') ? entry : `${entry}/`));
      if (!fine) t.fail(`${file} imports ${target}: ${key} may import ${allowed.join(', ')}`);
      if (/(^|\/)main\.(ts)$/.test(target)) t.fail(`${file} imports ${target}: nothing imports a main.ts`);
    }
  }
  t.ok(files.length > 10, `${files.length} files read`);
});

t.test('no file is a second house', async (t) => {
  for (const file of files) {
    const lines = readFileSync(join(root, file), 'utf8').split('\n').length;
    if (lines > 400) t.fail(`${file} has ${lines} lines; split it at 400`);
  }
  t.pass('sizes read');
});

t.test('no mark of a merge is left in code, documents or schemas', async (t) => {
  const texts = ['.', 'docs', 'examples', 'sql', 'wsdl', 'src', 'gatekeeper', 'test', '.ci'].flatMap((folder) => readdirSync(join(root, folder), { recursive: folder !== '.', withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)));
  t.same(texts.filter((file) => /^(<{7} |>{7} |={7}$)/m.test(readFileSync(file, 'utf8'))), []);
});
