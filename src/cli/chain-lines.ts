/** Lines of a stream, each of bounded length: a longer one is passed over and comes out as undefined. */
import type { Readable } from 'node:stream';

export async function* readLines(input: Readable, longest: number): AsyncGenerator<string | undefined> {
  let pieces: Buffer[] = [];
  let size = 0;
  const take = (): string | undefined => {
    const line = size > longest ? undefined : Buffer.concat(pieces).toString('utf8').trim();
    pieces = [];
    size = 0;
    return line;
  };
  const add = (piece: Buffer): void => {
    size += piece.length;
    if (size <= longest) pieces.push(piece);
    else pieces = [];
  };
  for await (const chunk of input) {
    let rest = chunk as Buffer;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      add(rest.subarray(0, end));
      yield take();
      rest = rest.subarray(end + 1);
    }
    if (rest.length > 0) add(rest);
  }
  if (size > 0) yield take();
}
