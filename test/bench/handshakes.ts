/** Memory of the gatekeeper's front door over 10,000 handshakes of every sort of chain. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { handshakes, startTlsWorld } from '../support/tls-world.js';

export async function benchHandshakes(count = 10_000): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'gridvc-tls-'));
  const world = await startTlsWorld(home);
  try {
    const usual = world.cases.filter(({ status }) => status !== 0);
    const MiB = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    await handshakes(world.port, usual, 1_000);
    for (let done = 0; done <= count; done += count / 5) {
      const begun = performance.now();
      if (done > 0) await handshakes(world.port, usual, count / 5);
      const { rss, heap } = await world.memory();
      console.log(`${done} handshakes: resident ${MiB(rss)}, heap ${MiB(heap)}${done > 0 ? `, ${((performance.now() - begun) / (count / 5)).toFixed(2)} ms each (client and server on this machine)` : ''}`);
    }
  } finally {
    await world.stop();
    rmSync(home, { recursive: true, force: true });
  }
}
