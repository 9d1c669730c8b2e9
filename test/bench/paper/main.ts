/**
 * `npm run bench:paper [-- 4 8 16] ['conf. 1' 'conf. 2']`: the paper's tables, remade. Without words all of them, some 12 minutes. What is measured
 * is kept beside the tests' grid, and the documents are written from all that was measured, so that it may run in pieces.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { findGrid } from '../../../src/cli/grid/state.js';
import { gridvc, must, prepareHome, root, testHome, whyNoGrid } from '../../support/grid.js';
import { writeSection } from '../docs-section.js';
import { configurations, nodeCounts } from './figures.js';
import { PaperSite, type Measured } from './measure.js';
import { paperChart, paperSection } from './page.js';

const words = process.argv.slice(2);
const counts = nodeCounts.filter((nodes) => words.includes(String(nodes)));
const chosen = configurations.filter(({ name }) => words.includes(name));
const known = [...nodeCounts.map(String), ...configurations.map(({ name }) => name)];
const odd = words.find((word) => !known.includes(word));
const why = odd === undefined ? whyNoGrid() : `${JSON.stringify(odd)} is none of ${known.join(', ')}`;
if (why !== undefined) {
  console.error(`bench:paper: ${why}`);
  process.exit(1);
}
prepareHome();
const kept = join(testHome, 'bench-paper.json');
const rows: Measured[] = existsSync(kept) ? (JSON.parse(readFileSync(kept, 'utf8')) as Measured[]) : [];

await must(['grid', 'up']);
try {
  await must(['proxy', 'init']);
  const site = findGrid(testHome)?.layout.sites[0];
  if (site === undefined) throw new Error('the grid has no site');
  const paper = await PaperSite.open(site, join(testHome, 'bench-paper'));
  try {
    for (const { name, bundles } of chosen.length > 0 ? chosen : configurations) {
      for (const nodes of counts.length > 0 ? counts : nodeCounts) {
        rows.push(...(await paper.measure(name, bundles, nodes, (line) => console.error(line))));
        writeFileSync(kept, JSON.stringify(rows));
      }
    }
  } finally {
    await paper.close();
  }
} finally {
  await gridvc(['grid', 'down']);
}

const machine = `${cpus().length} x ${cpus()[0]?.model ?? '?'}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${new Date().toISOString().slice(0, 10)}; all nodes on one host, reached by ssh, fresh for each run.`;
const section = paperSection(rows, machine);
mkdirSync(join(root, 'docs'), { recursive: true });
writeSection('benchmarks.md', 'bench:paper', section);
writeFileSync(join(root, 'docs', 'paper-build-times.svg'), paperChart(rows));
console.log(section);
