/** The actions of `gridvc image`. */
import { GridError } from '../domain/error.js';
import { checkName } from '../domain/names.js';
import type { StoredImage } from '../ports.js';
import type { BuildOptions } from './commands/image.js';
import type { HeadOptions } from './commands/declare.js';
import { withHead } from './head-admin.js';
import { onInterrupt } from './interrupt.js';
import { note, print, printJson, table } from './terminal.js';

const buildSeconds = 1800; // hundreds of packages on a slow machine
const collectSeconds = 600;
const tellSeconds = 10;

export async function list(options: HeadOptions): Promise<void> {
  const { site, images } = await withHead(options, (head) => head.call('listImages', {}));
  if (options.json === true) return printJson({ site, images });
  if (images.length === 0) return note(`site ${site} has no image yet; the first request makes one`);
  print(imageTable(images));
  const cached = images.filter(({ kind }) => kind !== 'base');
  note(`site ${site}: ${cached.length} above ${images.length - cached.length} of kind base; worth: predicted seconds saved over the remembered requests`);
}

export async function show(name: string, options: HeadOptions): Promise<void> {
  const { site, image } = await withHead(options, (head) => head.call('showImage', { name }));
  if (options.json === true) return printJson({ site, ...image });
  const { layers, contents } = image;
  print(`${imageTable([image])}\n`);
  print(table(['layer', 'kind', 'MB'], layers.map((layer) => [layer.digest, layer.kind, megabytes(layer.bytes)])));
  print(`\n${contents.join('\n')}`);
}

export async function build(options: BuildOptions): Promise<void> {
  const packages = [...(options.package ?? [])];
  const bundles = [...(options.bundle ?? [])];
  if (packages.length + bundles.length === 0) throw new GridError('bad-request', 'an image of what?', { hint: 'name packages or bundles: gridvc image build --bundle mpi' });
  for (const name of packages) checkName('package', name);
  for (const name of bundles) checkName('bundle', name);
  const os = checkName('os', options.os);
  const { site, image } = await waiting((signal) => withHead(options, (head) => head.call('buildImage', { os, packages, bundles }, { seconds: buildSeconds, signal })));
  if (options.json === true) return printJson({ site, image });
  print(image.name);
  note(`site ${site}: image ${image.name}, ${image.packages} packages, ${megabytes(image.bytes)} MB above the base; it goes last when space is short`);
}

/** Says now and then that it still waits; Ctrl-C ends the waiting and says so: the head finishes its image. */
async function waiting<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { signal, done } = onInterrupt(() => undefined);
  const begun = performance.now();
  const ticker = setInterval(() => note(`the head builds, ${((performance.now() - begun) / 1000).toFixed(0)} s so far`), tellSeconds * 1000);
  try {
    return await work(signal);
  } catch (error) {
    if (signal.aborted) throw new GridError('interrupted', 'no longer waiting; the head makes the image nevertheless', { hint: 'gridvc image list shows it when it is there; gridvc image gc removes what is not worth its space' });
    throw error;
  } finally {
    clearInterval(ticker);
    done();
  }
}

export async function collect(options: HeadOptions): Promise<void> {
  const { site, collected } = await withHead(options, (head) => head.call('collectImages', {}, { seconds: collectSeconds }));
  if (options.json === true) return printJson({ site, ...collected });
  if (collected.removed.length === 0) return note(`site ${site}: nothing to remove`);
  print(table(['removed', 'where', 'MB', 'reason'], collected.removed.map(({ what, where, bytes, reason }) => [what, where, megabytes(bytes), reason])));
  note(`site ${site}: ${megabytes(collected.bytes)} MB freed`);
}

function imageTable(images: readonly StoredImage[]): string {
  return table(['name', 'kind', 'os', 'packages', 'MB', 'uses', 'last used', 'made', 'worth', 'state'], images.map((image) => [image.name, image.kind, image.os, image.packages, megabytes(image.bytes), image.uses, short(image.lastUsed), short(image.made), image.value === 0 ? '' : `${image.value.toFixed(1)} s`, `${image.state}${image.inUse ? ', in use' : ''}`]));
}

/** "12.3", as text that lines up. */
function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

/** Minutes are enough for a person. */
function short(iso: string): string {
  return iso.slice(0, 16).replace('T', ' ');
}
