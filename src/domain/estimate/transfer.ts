/**
 * Time to bring layers to hosts. The paper's way first: the mean (here: median) of past transfers of
 * that image to that many hosts; without such a past, a line in bytes and hosts, whose slope is the
 * learned bandwidth.
 */
import { emptyLine, isPlausible, learnLine, medianOf, predictLine, robustSpread, withInterval, type Estimate, type LineState } from './line.js';
import { stagePriors } from './priors.js';

export interface Transfer {
  /** Key of the image; undefined if it has none yet. */
  readonly image?: string;
  /** Bytes over the wire, all hosts together. */
  readonly bytes: number;
  readonly hosts: number;
}

export interface TransferState {
  readonly line: LineState;
  /** "image hosts" to its last transfers, as [bytes, seconds]; the longest unused go first. */
  readonly past: Readonly<Record<string, readonly (readonly [number, number])[]>>;
}

export const coldTransfer: TransferState = { line: emptyLine, past: {} };

const MiB = 1024 * 1024;
const kept = 9;
const mostImages = 200;
const alike = 0.02; // of the bytes: a host that had a layer already makes another transfer
const enough = 2;

export function predictTransfer(state: TransferState, transfer: Transfer): Estimate {
  const same = Object.hasOwn(state.past, keyOf(transfer)) ? (state.past[keyOf(transfer)] ?? []) : [];
  const seconds = same.filter(([bytes]) => Math.abs(bytes - transfer.bytes) <= alike * transfer.bytes).map(([, taken]) => taken);
  if (transfer.image === undefined || seconds.length < enough) return predictLine(stagePriors.distribute, state.line, quantities(transfer));
  const middle = medianOf(seconds);
  return withInterval(middle, robustSpread(seconds.map((taken) => (taken - middle) / (middle + stagePriors.distribute.floor)), stagePriors.distribute.spread / 2));
}

export function learnTransfer(state: TransferState, transfer: Transfer, seconds: number): TransferState {
  if (!isPlausible(seconds)) return state;
  const line = learnLine(state.line, quantities(transfer), seconds);
  if (transfer.image === undefined) return { ...state, line };
  const key = keyOf(transfer);
  const { [key]: before = [], ...others } = state.past;
  const recent = Object.entries(others).slice(1 - mostImages);
  return { line, past: Object.fromEntries([...recent, [key, [...before, [transfer.bytes, seconds] as const].slice(-kept)]]) };
}

function keyOf(transfer: Transfer): string {
  return `${transfer.image ?? ''} ${transfer.hosts}`;
}

function quantities(transfer: Transfer): readonly number[] {
  return [1, transfer.bytes / MiB, transfer.hosts];
}
