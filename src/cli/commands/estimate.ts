/** estimate report|explain: how well a head foretells time, for its administrator. */
import type { Command } from 'commander';
import { action, example, withHeadOptions, type HeadOptions } from './declare.js';

export function addEstimateCommands(program: Command): void {
  const estimate = program.command('estimate').description("how well a head foretells time (for its administrator, as with gridvc image)");
  const command = (nameAndArgs: string, description: string): Command => withHeadOptions(estimate.command(nameAndArgs).description(description));

  example(
    command('report', "each stage's models against what was measured at this site: error, bias, and which one plans go by").action(
      action(async (options: HeadOptions, _command: Command) => (await import('../estimates.js')).report(options)),
    ),
    'sudo gridvc estimate report',
    'sudo gridvc estimate report --head /etc/gridvc/head.yaml --json',
  );
  example(
    command('explain <cluster>', 'one cluster stage by stage: predicted, interval, measured, bytes; and why its image was chosen').action(
      action(async (cluster: string, options: HeadOptions, _command: Command) => (await import('../estimates.js')).explain(cluster, options)),
    ),
    'sudo gridvc estimate explain c1a2b3c4',
  );
}
