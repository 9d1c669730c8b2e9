/**
 * What the command says and how it ends. Data go to standard output, everything else to standard error.
 * Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 no such object, 130 interrupted.
 */
import { isGridError } from '../domain/error.js';

export const exitCodes = { done: 0, failed: 1, usage: 2, notFound: 3, interrupted: 130 } as const;

/** One line (or block) of data to standard output. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** A remark for the person, on standard error, so that data stay clean in a pipe. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Left-aligned columns two spaces apart; "" for no rows. Numbers are right-aligned. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const all = [head, ...rows].map((row) => row.map(String));
  const widths = head.map((_, column) => Math.max(...all.map((row) => [...(row[column] ?? '')].length)));
  const right = head.map((_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number' || /^[+-]?[\d.]+( [s%])?$|^-?$/.test(String(row[column] ?? ''))));
  return all
    .map((row) => row.map((cell, column) => (right[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0))).join('  ').trimEnd())
    .join('\n');
}

/** "1.2 s"; "" for none. */
export function seconds(value: number | undefined): string {
  return value === undefined ? '' : `${value.toFixed(1)} s`;
}

/** "11:59:57", never negative. */
export function clock(milliseconds: number): string {
  const left = Math.max(0, Math.floor(milliseconds / 1000));
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${two(Math.floor(left / 3600))}:${two(Math.floor(left / 60) % 60)}:${two(left % 60)}`;
}

/** Writes the error as "gridvc: ...\nhint: ..." and returns the exit code. */
export function report(error: unknown, json = false): number {
  if (json) {
    const known = isGridError(error);
    process.stderr.write(`${JSON.stringify({ error: known ? error.kind : 'internal', message: messageOf(error), ...(known && error.hint !== undefined ? { hint: error.hint } : {}) })}\n`);
  } else {
    note(`gridvc: ${messageOf(error)}`);
    if (isGridError(error) && error.hint !== undefined) note(`hint: ${error.hint}`);
    if (isGridError(error) && error.reference !== undefined) note(`reference: ${error.reference}`);
  }
  return codeOf(error);
}

function messageOf(error: unknown): string {
  if (isGridError(error)) return error.message;
  if (error instanceof Error && error.name === 'DerError') return error.message; // a damaged certificate or key, not a bug
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function codeOf(error: unknown): number {
  if (isGridError(error, 'not-found')) return exitCodes.notFound;
  if (isGridError(error, 'interrupted')) return exitCodes.interrupted;
  return exitCodes.failed;
}
