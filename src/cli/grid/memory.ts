/** What the kernel says may be used without swapping. */
import { readFileSync } from 'node:fs';

/** MemAvailable in MiB. */
export function availableMemory(): number {
  const kilobytes = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1];
  return Math.floor(Number(kilobytes ?? 0) / 1024);
}
