/**
 * The bed by itself, for a person who develops on it: `node dist/test/xen/bed.js`; up until Ctrl-C.
 */
import { raiseBed } from '../../src/cli/xen-bed/bed.js';
import { onInterrupt } from '../../src/cli/interrupt.js';
import { xenHome } from './world.js';

const { signal, done } = onInterrupt(() => console.log('taking the bed down'));
const say = (line: string): void => console.log(line);
const bed = await raiseBed({ home: xenHome, signal, say });
for (const { layout } of bed.dom0s) say(`ssh -i ${bed.layout.key} -o UserKnownHostsFile=${bed.layout.knownHosts} root@${layout.address}`);
await new Promise<void>((resolve) => (signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve(), { once: true })));
await bed.stop();
done();
