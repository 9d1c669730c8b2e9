/** Bounded capture of a child's output, and its cutting into lines. Pure: no process is touched here. */

/** Keeps the first and last `limit / 2` bytes of a stream, and says how much was left out. */
export class BoundedText {
  private readonly head: Buffer[] = [];
  private tail: Buffer[] = [];
  private headBytes = 0;
  private tailBytes = 0;
  private dropped = 0;
  private readonly half: number;

  /** @param limit bytes kept in all */
  constructor(limit: number) {
    this.half = Math.max(1, Math.floor(limit / 2));
  }

  add(chunk: Buffer): void {
    const room = this.half - this.headBytes;
    if (room > 0) {
      const first = chunk.subarray(0, room);
      this.head.push(first);
      this.headBytes += first.length;
    }
    const rest = room > 0 ? chunk.subarray(room) : chunk;
    if (rest.length === 0) return;
    this.tail.push(rest);
    this.tailBytes += rest.length;
    if (this.tailBytes > 2 * this.half) this.trim();
  }

  text(): string {
    this.trim();
    const middle = this.dropped > 0 ? [Buffer.from(`\n[... ${this.dropped} bytes left out ...]\n`)] : [];
    return Buffer.concat([...this.head, ...middle, ...this.tail]).toString('utf8');
  }

  private trim(): void {
    if (this.tailBytes <= this.half) return;
    const all = Buffer.concat(this.tail);
    const kept = all.subarray(all.length - this.half);
    this.dropped += all.length - kept.length;
    this.tail = [Buffer.from(kept)];
    this.tailBytes = kept.length;
  }
}

/** Calls `onLine` for each whole line; a line longer than 64 KiB is cut there. `end` gives the last, unfinished one. */
export class LineCutter {
  private rest = '';
  private readonly decoder = new TextDecoder();
  constructor(private readonly onLine: (line: string) => void) {}

  add(chunk: Buffer): void {
    const lines = (this.rest + this.decoder.decode(chunk, { stream: true })).split('\n');
    this.rest = lines.pop() ?? '';
    for (const line of lines) this.onLine(line.replace(/\r$/, ''));
    if (this.rest.length > 65536) this.end();
  }

  end(): void {
    const last = this.rest;
    this.rest = '';
    if (last !== '') this.onLine(last);
  }
}

/** The last line of `text` that says something, cut to 300 characters, or "". */
export function lastLine(text: string): string {
  const lines = text.split('\n').map((line) => line.trim()).filter((line) => line !== '');
  return (lines.at(-1) ?? '').slice(0, 300);
}

/** The last `count` lines of `text`. */
export function lastLines(text: string, count: number): string[] {
  return text.split('\n').map((line) => line.trimEnd()).filter((line) => line !== '').slice(-count);
}
