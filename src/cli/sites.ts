/** The actions of `gridvc site`. */
import { checkName } from '../domain/names.js';
import type { SiteState, SiteView } from '../domain/views.js';
import type { CommonOptions } from './commands/cluster.js';
import { connect } from './connect.js';
import { note, print, printJson, table } from './terminal.js';

export async function register(site: { readonly name: string; readonly url: string; readonly subject: string }, options: CommonOptions): Promise<void> {
  checkName('site', site.name);
  const { client } = await connect(options);
  show([await client.registerSite(site)], options);
}

export async function list(options: CommonOptions): Promise<void> {
  const { client } = await connect(options);
  const sites = await client.listSites();
  if (sites.length === 0 && options.json !== true) return note('no site is registered; gridvc site register --help');
  show(sites, options);
}

export async function setState(name: string, state: SiteState, options: CommonOptions): Promise<void> {
  const { client } = await connect(options);
  show([await client.setSiteState(checkName('site', name), state)], options);
}

export async function remove(name: string, options: CommonOptions): Promise<void> {
  const { client } = await connect(options);
  await client.unregisterSite(checkName('site', name));
  if (options.json === true) printJson({ removed: name });
  else print(`site ${name} is removed`);
}

function show(sites: readonly SiteView[], options: CommonOptions): void {
  if (options.json === true) return printJson(sites);
  print(table(['site', 'state', 'answers', 'free nodes', 'free MiB', 'url', 'subject'], sites.map((site) => [site.name, site.state, site.alive ? 'yes' : 'no', site.freeNodes, site.freeMemory, site.url, site.subject])));
}
