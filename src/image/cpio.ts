/** The initial RAM disk's archive format: cpio "newc" as the Linux kernel reads it. Pure. */

export interface CpioEntry {
  /** Relative, "bin/sh"; parents come before what is in them. */
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  readonly content: { readonly kind: 'directory' } | { readonly kind: 'file'; readonly bytes: Uint8Array } | { readonly kind: 'link'; readonly target: string };
}

const types = { directory: 0o040000, file: 0o100000, link: 0o120000 } as const;

/** The whole archive, uncompressed: unpacking costs a booting machine more than reading. Everything belongs to root, without a date. */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts = entries.flatMap((entry, i) => member(i + 1, entry.path, types[entry.content.kind] | entry.mode, bytesOf(entry)));
  return Buffer.concat([...parts, ...member(0, 'TRAILER!!!', 0, Buffer.alloc(0))]);
}

function bytesOf({ content }: CpioEntry): Buffer {
  switch (content.kind) {
    case 'directory':
      return Buffer.alloc(0);
    case 'file':
      return Buffer.from(content.bytes);
    case 'link':
      return Buffer.from(content.target);
  }
}

function member(inode: number, path: string, mode: number, bytes: Buffer): Buffer[] {
  const name = Buffer.from(`${path}\0`);
  const links = (mode & types.directory) === types.directory ? 2 : 1;
  const numbers = [inode, mode, 0, 0, links, 0, bytes.length, 0, 0, 0, 0, name.length, 0];
  const header = Buffer.from(`070701${numbers.map((n) => n.toString(16).padStart(8, '0')).join('')}`);
  return [header, name, padding(header.length + name.length), bytes, padding(bytes.length)];
}

function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
