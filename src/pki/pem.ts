/** PEM blocks, as grid files hold them: several of several kinds in one file, text between them. */
import { DerError } from './der.js';

export interface PemBlock {
  readonly label: string;
  readonly der: Uint8Array;
  /** The block's own lines, with a newline at the end. */
  readonly text: string;
}

/** All blocks of a text, in order. A block without its end, or that is not base64, is a DerError. @param largest characters */
export function readPem(text: string, largest = 4 * 1024 * 1024): PemBlock[] {
  if (text.length > largest) throw new DerError(`PEM text of more than ${largest} characters`);
  const blocks: PemBlock[] = [];
  let open: { label: string; lines: string[] } | undefined;
  for (const line of text.split('\n').map((each) => each.trimEnd())) {
    const begin = /^-----BEGIN ([A-Z0-9 ]{1,64})-----$/.exec(line)?.[1];
    if (begin !== undefined) {
      if (open) throw new DerError(`PEM block ${open.label} does not end`);
      open = { label: begin, lines: [] };
    } else if (open && line === `-----END ${open.label}-----`) {
      blocks.push(closeBlock(open.label, open.lines));
      open = undefined;
    } else if (open) open.lines.push(line);
  }
  if (open) throw new DerError(`PEM block ${open.label} does not end`);
  return blocks;
}

function closeBlock(label: string, lines: readonly string[]): PemBlock {
  const headed = lines.some((line) => line.includes(':')); // old encrypted keys: Proc-Type, DEK-Info
  const base64 = headed ? '' : lines.join('').replaceAll(/\s/g, '');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) throw new DerError(`PEM block ${label} is not base64`);
  return { label, der: Buffer.from(base64, 'base64'), text: `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n` };
}

/** One PEM block with lines of 64 characters. */
export function writePem(label: string, der: Uint8Array): string {
  const lines = Buffer.from(der).toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** DER of every CERTIFICATE block, in order. */
export function certificatesOf(pem: string): Uint8Array[] {
  return readPem(pem)
    .filter(({ label }) => label === 'CERTIFICATE' || label === 'X509 CERTIFICATE')
    .map(({ der }) => der);
}
