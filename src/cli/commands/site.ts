/** site register|list|drain|open|close|remove: for site and grid administrators. */
import type { Command } from 'commander';
import type { SiteState } from '../../domain/views.js';
import { action, example, gatekeeperOption, jsonOption } from './declare.js';
import type { CommonOptions } from './cluster.js';

export function addSiteCommands(program: Command): void {
  const site = program.command('site').description('the sites of the grid (changes need the role site-admin or grid-admin)');
  const command = (nameAndArgs: string, description: string, line: string): Command =>
    example(site.command(nameAndArgs).description(description).addOption(jsonOption()).addOption(gatekeeperOption()), line);

  command('register <name> <url> <subject>', 'register a site, or change its address', "gridvc site register alpha https://head.alpha.example.org:8451 '/O=Grid/CN=host/head.alpha.example.org'").action(
    action(async (name: string, url: string, subject: string, options: CommonOptions, _command: Command) => (await import('../sites.js')).register({ name, url, subject }, options)),
  );
  command('list', 'list the sites, what is free and whether they answer', 'gridvc site list').action(
    action(async (options: CommonOptions, _command: Command) => (await import('../sites.js')).list(options)),
  );
  const changes: readonly [string, SiteState, string][] = [
    ['drain', 'draining', 'take no new clusters there; those that run go on'],
    ['open', 'open', 'take new clusters there again'],
    ['close', 'closed', 'take no new clusters there and do not count on it'],
  ];
  for (const [verb, state, description] of changes) {
    command(`${verb} <name>`, description, `gridvc site ${verb} alpha`).action(
      action(async (name: string, options: CommonOptions, _command: Command) => (await import('../sites.js')).setState(name, state, options)),
    );
  }
  command('remove <name>', 'unregister a site', 'gridvc site remove alpha').action(
    action(async (name: string, options: CommonOptions, _command: Command) => (await import('../sites.js')).remove(name, options)),
  );
}
