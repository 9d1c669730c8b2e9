/** ssh, exec, vpn, put, tunnel: getting at nodes. */
import type { Command } from 'commander';
import { action, example, gatekeeperOption, jsonOption, several } from './declare.js';
import type { CommonOptions } from './cluster.js';

export function addAccessCommands(program: Command): void {
  example(
    program
      .command('ssh')
      .description('log in on a node (OpenSSH through the gatekeeper); exit code of the command')
      .argument('<id>', 'cluster')
      .argument('[node]', 'node', 'n1')
      .argument('[command...]', 'command for the node\'s shell instead of a login')
      .option('-l, --login <user>', 'user on the node (default: grid)')
      .addOption(gatekeeperOption())
      .action(action(async (id: string, node: string, words: readonly string[], options: CommonOptions & { login?: string }, _command: Command) => (await import('../access.js')).ssh(id, node, words, options))),
    'gridvc ssh c1a2b3c4 n1',
    'gridvc ssh c1a2b3c4 n2 -- uname -a',
  );
  example(
    program
      .command('exec')
      .description('run a command on all nodes at once; each line is prefixed by its node (but not of one node that --node names); exit code: the worst. One node gets standard input, too.')
      .argument('<id>', 'cluster')
      .argument('<command...>', 'after --: several words are passed as they are, a single one is a line for the node\'s shell')
      .option('--node <names>', 'only on these nodes', several)
      .option('--root', 'as root (default: grid)')
      .addOption(gatekeeperOption())
      .action(
        action(async (id: string, words: readonly string[], options: CommonOptions & { node?: readonly string[]; root?: boolean }, _command: Command) => (await import('../access.js')).exec(id, words, options)),
      ),
    'gridvc exec c1a2b3c4 -- hostname -f',
    "gridvc exec c1a2b3c4 --node n1,n2 'free -m | head -2'",
    "gridvc exec c1a2b3c4 --node n1 'cat > hello.c' < hello.c",
  );
  example(
    program
      .command('vpn')
      .description('write an OpenVPN profile (mode 0600) with which your own computer joins the cluster\'s network')
      .argument('<id>', 'cluster')
      .option('-o, --out <file>', 'where to write it, - for standard output (default: <id>.ovpn)')
      .addOption(gatekeeperOption())
      .action(action(async (id: string, options: CommonOptions & { out?: string }, _command: Command) => (await import('../access.js')).vpn(id, options))),
    'gridvc vpn c1a2b3c4 && sudo openvpn c1a2b3c4.ovpn',
  );
  example(
    program
      .command('put')
      .description('upload a file for a later request and print its id')
      .argument('<file>', 'local file')
      .addOption(jsonOption())
      .addOption(gatekeeperOption())
      .action(action(async (file: string, options: CommonOptions, _command: Command) => (await import('../access.js')).put(file, options))),
    'gridvc create --file $(gridvc put data.tar):/home/grid/data.tar',
  );
  example(
    program
      .command('tunnel')
      .description('connect standard input and output to the ssh port of a node (the ProxyCommand of gridvc ssh)')
      .argument('<id>', 'cluster')
      .argument('<node>', 'node')
      .addOption(gatekeeperOption())
      .action(action(async (id: string, node: string, options: CommonOptions, _command: Command) => (await import('../access.js')).tunnel(id, node, options))),
    "rsync -e 'ssh -o ProxyCommand=\"gridvc tunnel c1a2b3c4 n1\"' data grid@n1:",
  );
}
