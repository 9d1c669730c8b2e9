/**
 * A straight line in several quantities that learns from observations, one at a time, and cannot be
 * ruined by a bad one. Rules:
 *   - the state is plain data: the last observations; the line is fitted from them when asked for
 *   - no coefficient is negative, so more work never takes less time
 *   - errors count relative to the time, so that a 2 s stage is learned as well as a 200 s one
 *   - Huber weights: an observation far off pulls no harder than one that is a little off
 *   - a prior stands for what is not seen yet: first its scale follows the median of observed / prior
 *     (a faster or slower machine), then its coefficients give way to the data
 */

/** What is believed before anything was seen; shipped as data in priors.ts. */
export interface LinePrior {
  /** Seconds per unit of each quantity; by custom the first quantity is the constant 1. 0: never used. */
  readonly coefficients: readonly number[];
  /** Relative error (one standard deviation) expected of a cold estimate. */
  readonly spread: number;
  /** Seconds below which differences do not matter. */
  readonly floor: number;
}

/** Last observations, oldest first: [seconds, ...quantities]. Plain JSON. */
export interface LineState {
  readonly rows: readonly (readonly number[])[];
}

export interface FittedLine {
  readonly coefficients: readonly number[];
  /** Relative standard deviation of one observation around the line. */
  readonly spread: number;
}

export interface Estimate {
  readonly seconds: number;
  /** 90 % interval. */
  readonly low: number;
  readonly high: number;
}

export const emptyLine: LineState = { rows: [] };

const window = 100;
/** Longer than a day is no stage but a clock that jumped. */
export const longestSeconds = 86_400;
/** A quantity beyond this (MiB, packages, nodes) is a damaged row. */
const mostUnits = 1e9;
const rounds = 6;
const sweeps = 30;
const huber = 1.345;
const priorRows = 3; // the prior's word on the spread counts as so many observations
const coefficientSpread = 0.8; // relative uncertainty of each prior coefficient
const leastSpread = 0.03;
/** Half width of a 90 % interval, in standard deviations. */
const width = 1.645;

export function isPlausible(seconds: number): boolean {
  return Number.isFinite(seconds) && seconds >= 0 && seconds <= longestSeconds;
}

/** @returns the state with one more observation; unchanged if its numbers cannot be (negative, endless, a day and more) */
export function learnLine(state: LineState, quantities: readonly number[], seconds: number): LineState {
  if (!isPlausible(seconds) || !quantities.every((x) => x >= 0 && x <= mostUnits)) return state;
  return { rows: [...state.rows.slice(1 - window), [seconds, ...quantities]] };
}

/** Predicted seconds with a 90 % interval. */
export function predictLine(prior: LinePrior, state: LineState, quantities: readonly number[]): Estimate {
  const line = fitLine(prior, state);
  return withInterval(valueOf(line.coefficients, quantities), line.spread * (1 + 1 / (state.rows.length + 1)));
}

/** A value between value / (1 + w) and value * (1 + w), for a relative standard deviation. */
export function withInterval(seconds: number, spread: number): Estimate {
  const factor = 1 + width * spread;
  return { seconds, low: seconds / factor, high: seconds * factor };
}

const fitted = new WeakMap<LineState, { prior: LinePrior; line: FittedLine }>(); // states never change: the same one is fitted once

export function fitLine(prior: LinePrior, state: LineState): FittedLine {
  const known = fitted.get(state);
  if (known?.prior === prior) return known.line;
  const line = state.rows.length === 0 ? { coefficients: prior.coefficients, spread: prior.spread } : fit(prior, state.rows);
  fitted.set(state, { prior, line });
  return line;
}

function fit(prior: LinePrior, rows: LineState['rows']): FittedLine {
  const scale = medianOf([1, 1, ...rows.map((row) => ((row[0] ?? 0) + prior.floor) / (predictRow(prior.coefficients, row) + prior.floor))]);
  const start = prior.coefficients.map((coefficient) => coefficient * scale);
  let coefficients: readonly number[] = start;
  let spread = prior.spread;
  for (let round = 0; round < rounds; round += 1) {
    const errors = rows.map((row) => relativeError(coefficients, row, prior.floor));
    spread = robustSpread(errors, prior.spread);
    coefficients = solve(start, coefficients, rows, errors, { spread, floor: prior.floor });
  }
  return { coefficients, spread: robustSpread(rows.map((row) => relativeError(coefficients, row, prior.floor)), prior.spread) };
}

/** Spread of relative errors by their median, mixed with the prior's; never wider than the prior's, so that one stall widens nothing. */
export function robustSpread(errors: readonly number[], prior: number): number {
  const seen = 1.4826 * medianOf(errors.map(Math.abs));
  const mixed = (priorRows * prior + errors.length * Math.min(seen, prior)) / (priorRows + errors.length);
  return Math.max(leastSpread, mixed);
}

/** Weighted ridge least squares towards `start`, no coefficient below 0: coordinate descent on the normal equations. */
function solve(start: readonly number[], from: readonly number[], rows: LineState['rows'], errors: readonly number[], noise: { spread: number; floor: number }): readonly number[] {
  const size = start.length;
  const gram = new Float64Array(size * size);
  const target = new Float64Array(size);
  rows.forEach((row, i) => {
    const unit = predictRow(from, row) + noise.floor;
    const weight = Math.min(1, (huber * noise.spread) / Math.max(1e-9, Math.abs(errors[i] ?? 0))) / (unit * unit);
    for (let a = 0; a < size; a += 1) {
      const x = weight * (row[a + 1] ?? 0);
      target[a]! += x * (row[0] ?? 0);
      for (let b = 0; b < size; b += 1) gram[a * size + b]! += x * (row[b + 1] ?? 0);
    }
  });
  const result = [...from];
  for (let sweep = 0; sweep < sweeps; sweep += 1) {
    for (let a = 0; a < size; a += 1) {
      const believed = start[a] ?? 0;
      if (believed <= 0) continue;
      const pull = (noise.spread / (coefficientSpread * believed)) ** 2;
      let rest = (target[a] ?? 0) + pull * believed;
      for (let b = 0; b < size; b += 1) if (b !== a) rest -= (gram[a * size + b] ?? 0) * (result[b] ?? 0);
      result[a] = Math.max(0, rest / ((gram[a * size + a] ?? 0) + pull));
    }
  }
  return result;
}

function relativeError(coefficients: readonly number[], row: readonly number[], floor: number): number {
  const predicted = predictRow(coefficients, row);
  return ((row[0] ?? 0) - predicted) / (predicted + floor);
}

function predictRow(coefficients: readonly number[], row: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < coefficients.length; i += 1) sum += (coefficients[i] ?? 0) * (row[i + 1] ?? 0);
  return sum;
}

function valueOf(coefficients: readonly number[], quantities: readonly number[]): number {
  return coefficients.reduce((sum, coefficient, i) => sum + coefficient * (quantities[i] ?? 0), 0);
}

export function medianOf(values: readonly number[]): number {
  if (values.length === 0) return 0;
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** The lower of the two middle values for an even count: stalls only ever add time. */
export function lowMedianOf(values: readonly number[]): number {
  return Float64Array.from(values).sort()[(values.length - 1) >> 1] ?? 0;
}
