/** Which node runs how many processes of a job, and what is sent there. Pure. */
import tar from 'tar-stream';
import type { Program } from './job-request.js';

export interface Station {
  readonly node: string;
  /** Of a runner; 0: only files are needed there (MPI). */
  readonly processes: number;
}

export interface Layout {
  /** Nodes that have a runner. */
  readonly runners: readonly Station[];
  /** Nodes that have only the files, for processes that mpirun starts. */
  readonly others: readonly string[];
  /** MPI hostfile of the nodes that are used. */
  readonly hosts: string;
  /** More processes than slots. */
  readonly crowded: boolean;
}

/**
 * single: the first node. multiple: one process on each node in turn. mpi: mpirun on the first node, over as many as give
 * the slots. @param nodes verified ones, in order; @param slots of each node
 */
export function layOut(program: Pick<Program, 'type' | 'count'>, nodes: readonly string[], slots: number): Layout {
  const [first = ''] = nodes;
  const hosts = (used: readonly string[]): string => used.map((node) => `${node} slots=${slots}\n`).join('');
  if (program.type === 'mpi') {
    const used = nodes.slice(0, Math.ceil(program.count / slots));
    return { runners: [{ node: first, processes: program.count }], others: used.slice(1), hosts: hosts(used), crowded: program.count > used.length * slots };
  }
  const used = nodes.slice(0, program.type === 'single' ? 1 : program.count);
  const share = (i: number): number => Math.floor(program.count / used.length) + (i < program.count % used.length ? 1 : 0);
  return { runners: used.map((node, i) => ({ node, processes: share(i) })), others: [], hosts: hosts(used), crowded: false };
}

export interface SentFile {
  readonly name: string;
  readonly mode: number;
  readonly bytes: Uint8Array;
}

/** A tar of files in one directory. */
export async function packFiles(files: readonly SentFile[]): Promise<Uint8Array> {
  const pack = tar.pack();
  for (const { name, mode, bytes } of files) pack.entry({ name, mode }, Buffer.from(bytes));
  pack.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of pack) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
