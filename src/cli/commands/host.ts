/** host add|list|drain|open|remove|check: a head's compute hosts, for its administrator. */
import { Option, type Command } from 'commander';
import { hostKinds } from '../../domain/admin-views.js';
import { action, example, whole, withHeadOptions, type HeadOptions } from './declare.js';
import type { AddOptions } from '../hosts.js';

const mostMemory = 16 * 1024 * 1024; // MiB

export function addHostCommands(program: Command): void {
  const host = program.command('host').description("a head's compute hosts (for its administrator: root on its machine, or named in its configuration)");
  const command = (nameAndArgs: string, description: string): Command => withHeadOptions(host.command(nameAndArgs).description(description));

  example(
    command('add <name> <address>', 'register a host, or change its registration; it is looked at and used at once')
      .addOption(new Option('--kind <kind>', 'what its nodes are').choices(hostKinds).makeOptionMandatory())
      .requiredOption('--key <file>', "private ssh key, a file on the head's machine")
      .requiredOption('--host-key <line>', 'the host\'s own public key: "ssh-ed25519 AAAA..." (its /etc/ssh/ssh_host_ed25519_key.pub), or a file that has it')
      .requiredOption('--subnet <cidr>', 'private network of its nodes, e.g. 192.168.77.0/24')
      .requiredOption('--gateway <address>', 'way out of that network')
      .requiredOption('--range <first-last>', 'addresses for nodes of this host, e.g. 192.168.77.10-192.168.77.90')
      .option('--bridge <name>', 'bridge that its nodes are put on', 'gvbr0')
      .option('--user <name>', 'ssh user', 'root')
      .option('--port <port>', 'ssh port', whole(1, 65535), 22)
      .option('--home <directory>', 'directory for layers and nodes', '/var/lib/gridvc/nodes')
      .option('--memory <MiB>', 'memory for nodes (default: what the host has free)', whole(1, mostMemory))
      .option('--disk <MiB>', 'disk for nodes (default: what the host has free)', whole(1, mostMemory))
      .addOption(new Option('--type <type>', 'kind of Xen domains (default: what the host can run, PV first)').choices(['pv', 'pvh']))
      .action(action(async (name: string, address: string, options: AddOptions, _command: Command) => (await import('../hosts.js')).add(name, address, options))),
    "sudo gridvc host add dom0-1 dom0-1.alpha.example.org --kind xen --key /etc/gridvc/hosts.key --host-key 'ssh-ed25519 AAAA...' \\",
    '      --bridge xenbr0 --subnet 10.77.0.0/24 --gateway 10.77.0.1 --range 10.77.0.100-10.77.0.199',
  );
  example(command('list', 'list the hosts: what they have, what is free, what is amiss').action(action(async (options: HeadOptions, _command: Command) => (await import('../hosts.js')).list(options))), 'sudo gridvc host list');
  example(
    command('check <name>', 'look at a host now: what it lacks, and the command that mends it (exit code 1 if it cannot be used)').action(action(async (name: string, options: HeadOptions, _command: Command) => (await import('../hosts.js')).check(name, options))),
    'sudo gridvc host check dom0-1',
  );
  example(
    command('drain <name>', 'no new nodes there; what runs goes on').action(action(async (name: string, options: HeadOptions, _command: Command) => (await import('../hosts.js')).setState(name, 'draining', options))),
    'sudo gridvc host drain dom0-1',
  );
  example(
    command('open <name>', 'new nodes may come again').action(action(async (name: string, options: HeadOptions, _command: Command) => (await import('../hosts.js')).setState(name, 'open', options))),
    'sudo gridvc host open dom0-1',
  );
  example(
    command('remove <name>', 'forget a registered host that has no nodes').action(action(async (name: string, options: HeadOptions, _command: Command) => (await import('../hosts.js')).remove(name, options))),
    'sudo gridvc host remove dom0-1',
  );
}
