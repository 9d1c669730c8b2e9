/** setup, doctor: is this machine fit? */
import type { Command } from 'commander';
import { action, example, jsonOption } from './declare.js';

export function addMachineCommands(program: Command): void {
  example(
    program
      .command('setup')
      .description('install the Debian packages that a grid on this machine needs (as root)')
      .option('--tests', 'also those that only the tests need')
      .action(action(async (options: { tests?: boolean }, _command: Command) => (await import('../setup.js')).setup(options))),
    'sudo gridvc setup',
  );
  example(
    program
      .command('doctor')
      .description('say what this machine has and lacks, and how to mend it; exit code 1 if something needed lacks')
      .option('--client', 'only what a user of somewhere else\'s grid needs')
      .addOption(jsonOption())
      .action(action(async (options: { client?: boolean; json?: boolean }, _command: Command) => (await import('../doctor.js')).doctor(options))),
    'gridvc doctor',
  );
}
