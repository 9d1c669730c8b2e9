/**
 * Runs every test file, one after the other, each in its own process (they are TAP programs; tap's
 * own runner would compile them again). Prints each file's TAP, what was left out and why, and at
 * the end `N passed, N failed`. Arguments pick files by a part of their name; `--xen` means those of test/xen instead.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

interface Tally {
  passed: number;
  failed: number;
  skipped: string[];
}

const words = process.argv.slice(2);
const directory = words.includes('--xen') ? join(import.meta.dirname, 'xen') : import.meta.dirname;
const minutesPerFile = words.includes('--xen') ? 45 : 30;
const wanted = words.filter((word) => word !== '--xen');
const files = readdirSync(directory).filter((file) => file.endsWith('.test.js') && (wanted.length === 0 || wanted.some((part) => file.includes(part)))).sort();

const total: Tally = { passed: 0, failed: 0, skipped: [] };
for (const file of files) {
  const begun = Date.now();
  console.log(`# ${file}`);
  const tally = await run(join(directory, file));
  total.passed += tally.passed;
  total.failed += tally.failed;
  total.skipped.push(...tally.skipped.map((line) => `${file}: ${line}`));
  console.log(`# ${file}: ${tally.passed} passed, ${tally.failed} failed, ${((Date.now() - begun) / 1000).toFixed(1)} s\n`);
}
if (total.skipped.length > 0) console.log(`left out:\n${total.skipped.map((line) => `  ${line}`).join('\n')}`);
if (files.length === 0) console.log(`no test file matches ${wanted.join(' ')}`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;

/** A file that ends badly without a failed assertion counts as one failure. */
function run(path: string): Promise<Tally> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [path], { env: { ...process.env, TAP_TIMEOUT: String(minutesPerFile * 60 - 60) }, stdio: ['ignore', 'pipe', 'inherit'], timeout: minutesPerFile * 60_000, killSignal: 'SIGKILL' });
    const tally: Tally = { passed: 0, failed: 0, skipped: [] };
    let rest = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      process.stdout.write(chunk);
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      lines.forEach((line) => count(line, tally));
    });
    child.on('close', (code, signal) => {
      if (code !== 0 && tally.failed === 0) {
        console.log(`not ok - ${path} ended with ${signal ?? `exit code ${code}`}`);
        tally.failed += 1;
      }
      resolve(tally);
    });
  });
}

/** Assertions are the TAP points that are not themselves the sum of a subtest (those carry a time). */
function count(line: string, tally: Tally): void {
  const point = /^\s*(not ok|ok) \d+ ?(.*)$/.exec(line);
  if (point === null) return;
  const text = point[2] ?? '';
  if (/# SKIP/i.test(text)) tally.skipped.push(text.replace(/^- /, ''));
  else if (/# TODO/i.test(text)) return;
  else if (/# time=/.test(text) && point[1] === 'ok') return;
  else tally[point[1] === 'ok' ? 'passed' : 'failed'] += 1;
}
