/** Is a UDP port free for openvpn? Another program of this machine may sit on it. */
import { createSocket } from 'node:dgram';

/** True if the port can be bound now. */
export function freePort(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', () => resolve(false));
    socket.bind(port, () => socket.close(() => resolve(true)));
  });
}
