/** image list|show: a head's stock of images, for its administrator. */
import type { Command } from 'commander';
import { action, example, withHeadOptions, type HeadOptions } from './declare.js';

export function addImageCommands(program: Command): void {
  const image = program.command('image').description("a head's stock of images (for its administrator: root on its machine, or named in its configuration)");
  const command = (nameAndArgs: string, description: string): Command => withHeadOptions(image.command(nameAndArgs).description(description));

  example(
    command('list', 'list the images: base, caches, deltas; size and use').action(action(async (options: HeadOptions, _command: Command) => (await import('../images.js')).list(options))),
    'sudo gridvc image list',
    'sudo gridvc image list --site beta --json',
    'gridvc image list --head-url https://head.alpha.example.org:8451',
  );
  example(
    command('show <key>', 'show an image: its layers and packages').action(action(async (key: string, options: HeadOptions, _command: Command) => (await import('../images.js')).show(key, options))),
    'sudo gridvc image show 3f9a51c0',
  );
}
