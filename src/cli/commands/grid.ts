/** grid up|down|status and demo: a whole grid on this machine. */
import type { Command } from 'commander';
import { action, example, jsonOption, several } from './declare.js';

export function addGridCommands(program: Command): void {
  const grid = program.command('grid').description('a whole grid on this machine: CA, gatekeeper, sites with private networks (as root)');
  example(
    grid
      .command('up')
      .description('bring it up, or what of it is missing after a crash or a reboot')
      .option('--sites <names>', 'sites to make', several)
      .action(action(async (options: { sites?: readonly string[] }, _command: Command) => (await import('../grid-commands.js')).up(options))),
    'sudo gridvc grid up --sites alpha,beta',
  );
  example(
    grid
      .command('down')
      .description('destroy its clusters, stop its processes, remove its networks; images and certificates stay')
      .option('--purge', 'remove everything, images and certificates too')
      .option('--force', 'do not wait for clusters to end in good order')
      .action(action(async (options: { purge?: boolean; force?: boolean }, _command: Command) => (await import('../grid-commands.js')).down(options))),
    'sudo gridvc grid down --purge',
  );
  example(
    grid
      .command('status')
      .description('say what of it runs; exit code 1 unless all does')
      .addOption(jsonOption())
      .action(action(async (options: { json?: boolean }, _command: Command) => (await import('../grid-commands.js')).status(options))),
    'gridvc grid status --json',
  );
  example(
    program
      .command('demo')
      .description('the main job, shown: a grid of two sites, a cluster over both, an MPI program on it, then all is torn down (as root)')
      .option('--cold', 'remove cached images first')
      .option('--xen', 'on real Xen: two dom0s on emulated machines (needs QEMU; ten minutes where nothing helps the emulation)')
      .action(action(async (options: { cold?: boolean; xen?: boolean }, _command: Command) => (await import('../demo/demo.js')).demo(options))),
    'sudo gridvc demo --cold',
  );
}
