/**
 * The actions of `gridvc chain`. What is verified comes from strangers: any bytes get a verdict, no input
 * makes it wait, throw or grow without limit.
 */
import { fstatSync } from 'node:fs';
import { resolve } from 'node:path';
import { GridError } from '../domain/error.js';
import type { Log } from '../log.js';
import { validateChain } from '../pki/chain.js';
import { DerError } from '../pki/der.js';
import { readSmallFile } from '../pki/file-cache.js';
import { certificatesOf } from '../pki/pem.js';
import { TrustDirectory, type Problem } from '../pki/trust-directory.js';
import { readLines } from './chain-lines.js';
import type { VerifyOptions } from './commands/chain.js';
import { thisEnvironment } from './settings.js';
import { exitCodes, note, print, printJson, report } from './terminal.js';

/** What --json prints, and --batch for each line. */
export interface ChainVerdict {
  readonly valid: boolean;
  /** Globus DN of the identity; null if refused. */
  readonly subject: string | null;
  readonly limited: boolean;
  readonly independent: boolean;
  /** ISO time: the least of the chain; null if refused. */
  readonly notAfter: string | null;
  readonly fqans: readonly string[];
  /** Null if valid, else CODE: CHECK. */
  readonly reason: string | null;
  /** Whose certificate failed, and the file of the trust directory that has to do with it. */
  readonly certificate: string | null;
  readonly file: string | null;
}

interface Answer {
  readonly verdict: ChainVerdict;
  /** For people: why VOMS attributes were not believed, and files that are broken. */
  readonly warnings: readonly string[];
}

interface Question {
  readonly chain: string;
  readonly trust: string;
  readonly vomsdir: string | undefined;
  readonly at: Date | undefined;
}

const largestChain = 4 * 1024 * 1024;
const longestLine = 8 * 1024 * 1024;
const mostDirectories = 64;

/** @returns the exit code: 0 valid, 1 refused, 2 wrong usage */
export async function verify(file: string | undefined, options: VerifyOptions): Promise<number> {
  try {
    return await answer(file, options);
  } catch (error) {
    report(error, options.json === true);
    return exitCodes.usage;
  }
}

async function answer(file: string | undefined, options: VerifyOptions): Promise<number> {
  const environment = thisEnvironment().variables;
  const at = options.at === undefined ? undefined : parseTime(options.at);
  const defaults = { trust: options.trust ?? environment['X509_CERT_DIR'], vomsdir: options.vomsdir ?? environment['X509_VOMS_DIR'], at };
  const judge = new Judge(options.requireCrl === true);
  if (options.batch === true) return batch(judge, defaults);
  if (file === undefined) throw usage('name the file of the chain, or give --batch');
  if (defaults.trust === undefined) throw usage('name the trust directory with --trust, or X509_CERT_DIR');
  const chain = file === '-' ? await readInput() : readChain(file);
  const { verdict, warnings } = judge.judge({ ...defaults, trust: defaults.trust, chain });
  if (judge.unreadable(defaults.trust)) throw usage(`the trust directory ${defaults.trust} cannot be read`);
  for (const warning of warnings) note(`warning: ${warning}`);
  if (options.json === true) printJson(verdict);
  else tell(verdict);
  return verdict.valid ? exitCodes.done : exitCodes.failed;
}

async function batch(judge: Judge, defaults: { trust: string | undefined; vomsdir: string | undefined; at: Date | undefined }): Promise<number> {
  let number = 0;
  for await (const line of readLines(process.stdin, longestLine)) {
    number += 1;
    if (line === '') continue;
    const question = line === undefined ? `a line of more than ${longestLine} bytes` : parseQuestion(line, defaults);
    const { verdict, warnings } = typeof question === 'string' ? { verdict: refused('usage', question), warnings: [] } : judge.judge(question);
    for (const warning of warnings) note(`line ${number}: warning: ${warning}`);
    if (!process.stdout.write(`${JSON.stringify(verdict)}\n`)) await new Promise((drained) => process.stdout.once('drain', drained));
  }
  return exitCodes.done;
}

/** @returns why it is no question, if it is none */
function parseQuestion(line: string, defaults: { trust: string | undefined; vomsdir: string | undefined; at: Date | undefined }): Question | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return 'the line is not JSON';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'the line is not a JSON object';
  const { chain, trust = defaults.trust, vomsdir = defaults.vomsdir, at } = value as Readonly<Record<string, unknown>>;
  if (typeof chain !== 'string') return 'chain must be PEM text';
  if (typeof trust !== 'string' || trust === '') return 'trust must name a directory';
  if (vomsdir !== undefined && vomsdir !== null && typeof vomsdir !== 'string') return 'vomsdir must name a directory';
  try {
    return { chain, trust, vomsdir: vomsdir ?? undefined, at: at === undefined || at === null ? defaults.at : parseTime(at) };
  } catch (error) {
    return (error as Error).message;
  }
}

/** Trust directories stay open from one question to the next; each is looked at again for each question. */
class Judge {
  readonly #requireCrl: boolean;
  readonly #open = new Map<string, TrustDirectory>();
  readonly #told = new Set<string>();

  constructor(requireCrl: boolean) {
    this.#requireCrl = requireCrl;
  }

  judge({ chain, trust, vomsdir, at }: Question): Answer {
    try {
      const directory = this.#directory(trust, vomsdir);
      const trusted = directory.refresh();
      const broken = this.#news(directory.problems());
      const result = validateChain(read(chain), trusted, at ?? new Date());
      if (!result.ok) return { verdict: { ...refused(result.refusal.code, result.refusal.check), certificate: result.refusal.certificate || null, file: result.refusal.file ?? null }, warnings: broken };
      const { subject, limited, independent, notAfter, fqans, warnings } = result.identity;
      return { verdict: { valid: true, subject, limited, independent, notAfter: notAfter.toISOString(), fqans, reason: null, certificate: null, file: null }, warnings: [...warnings, ...broken] };
    } catch (error) {
      return { verdict: refused('internal', `the validator failed: ${String(error)}`), warnings: [] };
    }
  }

  /** A broken file is told once. */
  #news(problems: readonly Problem[]): string[] {
    const fresh = problems.map(({ file, message }) => `${file}: ${message}`).filter((text) => !this.#told.has(text)).slice(0, 20);
    for (const text of fresh) this.#told.add(text);
    return fresh;
  }

  unreadable(trust: string): boolean {
    return [...this.#open.values()].some((directory) => directory.problems().some(({ file }) => file === resolve(trust)));
  }

  #directory(trust: string, vomsdir: string | undefined): TrustDirectory {
    const key = JSON.stringify([resolve(trust), vomsdir]);
    const known = this.#open.get(key);
    if (known) return known;
    const [oldest] = this.#open.keys();
    if (this.#open.size >= mostDirectories && oldest !== undefined) this.#open.delete(oldest);
    const opened = TrustDirectory.open(resolve(trust), silent, { crl: this.#requireCrl ? 'require' : 'if-present', vomsdir: vomsdir === undefined ? undefined : resolve(vomsdir) });
    this.#open.set(key, opened);
    return opened;
  }
}

/** What is no PEM is given to the validator as it is, to be refused as malformed. */
function read(chain: string): Uint8Array[] {
  try {
    return certificatesOf(chain);
  } catch (error) {
    if (error instanceof DerError) return [Buffer.from(chain.slice(0, 100))];
    throw error;
  }
}

/** Broken files come with the verdict instead. */
const silent = { error: () => undefined, warn: () => undefined, info: () => undefined, debug: () => undefined } as unknown as Log;

function refused(code: string, check: string): ChainVerdict {
  return { valid: false, subject: null, limited: false, independent: false, notAfter: null, fqans: [], reason: `${code}: ${check}`, certificate: null, file: null };
}

function usage(detail: string): GridError {
  return new GridError('bad-request', detail, { hint: 'gridvc chain verify --help' });
}

function parseTime(text: unknown): Date {
  const fits = typeof text === 'string' && /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$/.test(text);
  const time = new Date(fits ? text.replace(/(T[^Z+-]*)$/, '$1Z') : NaN);
  if (Number.isNaN(time.getTime())) throw usage(`${JSON.stringify(text)?.slice(0, 60)} is no ISO time, such as 2026-01-31T12:00:00Z`);
  return time;
}

function readChain(file: string): string {
  try {
    return readSmallFile(file, largestChain).toString('latin1');
  } catch (error) {
    throw usage(`${file} cannot be read: ${(error as Error).message}`);
  }
}

async function readInput(): Promise<string> {
  if (fstatSync(0).isDirectory()) throw usage('standard input is a directory');
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of process.stdin) {
    size += (piece as Buffer).length;
    if (size > largestChain) throw usage(`more than ${largestChain} bytes on standard input`);
    pieces.push(piece as Buffer);
  }
  return Buffer.concat(pieces).toString('latin1');
}

function tell(verdict: ChainVerdict): void {
  if (!verdict.valid) {
    print(`refused: ${verdict.reason}`);
    if (verdict.certificate !== null) print(`certificate: ${verdict.certificate}`);
    if (verdict.file !== null) print(`file: ${verdict.file}`);
    return;
  }
  const kind = verdict.independent ? ' (an independent proxy: its own name)' : verdict.limited ? ' (limited proxy: it may not start jobs)' : '';
  print(`valid: ${verdict.subject}${kind}, until ${verdict.notAfter}`);
  for (const fqan of verdict.fqans) print(`VOMS: ${fqan}`);
}
