/** The one way into an ssh connection of ssh2. */
import type { Client, ConnectConfig } from 'ssh2';

/**
 * Connects and logs in. ssh2 tells a second error of some connections (reset, then "lost before handshake"), and one that nobody hears
 * would end the program: so it goes on listening. @param closed the message if the other side closes without a word. @throws Error, the first one
 */
export function logIn(client: Client, config: ConnectConfig, closed: string): Promise<void> {
  return new Promise((resolve, reject) => {
    client.once('ready', resolve).on('error', reject).once('close', () => reject(new Error(closed))).connect(config);
    client.setNoDelay(true); // else each command waits 40 ms for an acknowledgement of its first packet
  });
}
