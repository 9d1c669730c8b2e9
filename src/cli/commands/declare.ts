/** What the declarations share: examples in help, common options, and the frame around every action. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { exitCodes, report } from '../terminal.js';

/** Adds an example to the help. */
export function example(command: Command, ...lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExample:\n${lines.map((line) => `  $ ${line}`).join('\n')}`);
}

export const gatekeeperOption = (): Option => new Option('--gatekeeper <url>', 'the gatekeeper, https://HOST:8443 (default: GRIDVC_GATEKEEPER, else the embedded grid)');
/** How the commands for a head's administrator name the head (head-admin.ts). */
export interface HeadOptions {
  readonly head?: string;
  readonly headUrl?: string;
  readonly site?: string;
  readonly json?: boolean;
}

/** Adds --head, --head-url, --site and --json. */
export function withHeadOptions(command: Command): Command {
  return command
    .option('--site <name>', 'the head of this site of the grid on this machine (default: its first site)')
    .option('--head <file>', "the head's configuration, on its own machine as root (default: the embedded grid's, else /etc/gridvc/head.yaml)")
    .option('--head-url <url>', 'the head at https://HOST:8451, with your own credential as one of its administrators')
    .addOption(jsonOption());
}

export const jsonOption = (): Option => new Option('--json', 'print data as JSON (errors, too)');

/** Frames an action: its number is the exit code, its error is reported and gives the exit code. */
export function action<A extends unknown[]>(work: (...args: A) => Promise<number | void>): (...args: A) => Promise<void> {
  return async (...args) => {
    const command = args.at(-1) as Command;
    try {
      process.exitCode = (await work(...args)) ?? exitCodes.done;
    } catch (error) {
      process.exitCode = report(error, command.opts()['json'] === true);
    }
  };
}

/** A whole number in a range, for an option. */
export function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most) throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
    return value;
  };
}

/** For options that may be given several times, or once with commas. */
export function several(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, ...text.split(',').filter((word) => word !== '')];
}
