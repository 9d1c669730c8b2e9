/** `gridvc setup`: the same package installation that stands before npm run demo (bin/setup.mjs). */
import { join } from 'node:path';
import { runInteractive } from '../proc/interactive.js';

export function setup(options: { readonly tests?: boolean }): Promise<number> {
  const script = join(import.meta.dirname, '../../../bin/setup.mjs');
  return runInteractive([process.execPath, script, 'packages', ...(options.tests === true ? ['--tests'] : [])]);
}
