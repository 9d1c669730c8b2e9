/** image list|show|build|gc: a head's cache of images, for its administrator. */
import type { Command } from 'commander';
import { action, example, several, withHeadOptions, type HeadOptions } from './declare.js';

export type BuildOptions = HeadOptions & { readonly os: string; readonly package?: readonly string[]; readonly bundle?: readonly string[] };

export function addImageCommands(program: Command): void {
  const image = program.command('image').description("a head's cache of images (for its administrator: root on its machine, or named in its configuration)");
  const command = (nameAndArgs: string, description: string): Command => withHeadOptions(image.command(nameAndArgs).description(description));

  example(
    command('list', 'list the images: bases, what the cache made (c...), what requests left (d...); size, use and worth').action(action(async (options: HeadOptions, _command: Command) => (await import('../images.js')).list(options))),
    'sudo gridvc image list',
    'sudo gridvc image list --site beta --json',
    'gridvc image list --head-url https://head.alpha.example.org:8451',
  );
  example(
    command('show <name>', 'show an image: its layers and packages').action(action(async (name: string, options: HeadOptions, _command: Command) => (await import('../images.js')).show(name, options))),
    'sudo gridvc image show c3',
  );
  example(
    command('build', 'make a cache image of packages and bundles now, and keep it; at low priority, while no request is at work')
      .option('-p, --package <name>', 'Debian package (repeat, or separate by commas)', several)
      .option('-b, --bundle <name>', 'function by name, like mpi (repeat, or separate by commas)', several)
      .option('--os <release>', 'Debian release', 'bookworm')
      .action(action(async (options: BuildOptions, _command: Command) => (await import('../images.js')).build(options))),
    'sudo gridvc image build --bundle mpi --bundle octave',
    'sudo gridvc image build --package python3-numpy,python3-scipy --site beta',
  );
  example(
    command('gc', 'remove what is stale, over the budget or needed by nothing, on the head and its hosts; nothing in use').action(action(async (options: HeadOptions, _command: Command) => (await import('../images.js')).collect(options))),
    'sudo gridvc image gc',
  );
}
