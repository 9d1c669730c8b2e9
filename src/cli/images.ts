/** The actions of `gridvc image`. */
import type { ImageView } from '../domain/admin-views.js';
import type { HeadOptions } from './commands/declare.js';
import { withHead } from './head-admin.js';
import { note, print, printJson, table } from './terminal.js';

export async function list(options: HeadOptions): Promise<void> {
  const { site, images } = await withHead(options, (head) => head.call('listImages', {}));
  if (options.json === true) return printJson({ site, images });
  if (images.length === 0) return note(`site ${site} has no image yet; the first request makes one`);
  print(table(['key', 'kind', 'os', 'packages', 'MB', 'uses', 'last used', 'built', ''], images.map(row)));
  const bytes = images.reduce((sum, image) => sum + image.bytes, 0);
  note(`site ${site}: ${images.length} ${images.length === 1 ? 'image' : 'images'}, ${megabytes(bytes)} MB (shared layers counted for each)`);
}

export async function show(key: string, options: HeadOptions): Promise<void> {
  const { site, detail } = await withHead(options, (head) => head.call('showImage', { key }));
  if (options.json === true) return printJson({ site, ...detail });
  const { image, layers, packages } = detail;
  print(`image ${image.key}\nsite ${site}, ${image.kind} of ${image.os}${image.whole ? '' : '; a file of it is missing or damaged: not used'}`);
  print(`built ${image.built}, ${image.lastUsed === undefined ? 'the ground of all others' : `used ${image.uses} times, last ${image.lastUsed}`}\n`);
  print(table(['layer', 'kind', 'MB'], layers.map((layer) => [layer.digest, layer.kind, megabytes(layer.bytes)])));
  if (packages.length > 0) print(`\n${table(['package', 'version', 'deb kB'], packages.map((each) => [each.name, each.version, Math.round(each.debBytes / 1000)]))}`);
}

function row(image: ImageView): (string | number)[] {
  return [image.key.slice(0, 12), image.kind, image.os, image.packages, megabytes(image.bytes), image.uses, short(image.lastUsed), short(image.built), image.whole ? '' : 'damaged'];
}

/** "12.3", as text that lines up. */
function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

/** Minutes are enough for a person. */
function short(iso: string | undefined): string {
  return iso === undefined ? '' : iso.slice(0, 16).replace('T', ' ');
}
