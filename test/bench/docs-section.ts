/** Measured tables go into the documents between two comments, so that a bench can write its own and leave the rest alone. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../support/grid.js';

/** The text with the section `name` replaced. @throws Error if the text has no such section */
export function withSection(text: string, name: string, section: string): string {
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`there is no section between ${begin} and ${end}`);
  return `${text.slice(0, from + begin.length)}\n\n${section}\n\n${text.slice(to)}`;
}

/** 0.034 as "3.4 %". */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** Replaces a section of a file below docs/. */
export function writeSection(file: string, name: string, section: string): void {
  const path = join(root, 'docs', file);
  writeFileSync(path, withSection(readFileSync(path, 'utf8'), name, section));
}
