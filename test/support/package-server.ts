/** A small apt repository of our own packages, over http or as files; it can grow newer versions, go away and come back. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { createReadStream, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { basename, join } from 'node:path';

export interface TestPackage {
  readonly name: string;
  readonly version?: string;
  readonly depends?: string;
  readonly conflicts?: string;
  /** Shell lines of its postinst. */
  readonly postinst?: string;
  /** Bytes of incompressible filling. */
  readonly bytes?: number;
}

export class PackageServer {
  private server: Server | undefined;
  private port = 0;
  /** Each .deb is sent so much later. */
  delayMs = 0;

  constructor(readonly dir: string) {
    mkdirSync(dir, { recursive: true });
  }

  /** Adds packages, or newer versions of them, and writes the index. */
  add(...packages: readonly TestPackage[]): void {
    for (const entry of packages) build(this.dir, entry);
    const index = readdirSync(this.dir).filter((name) => name.endsWith('.control')).sort().map((name) => readFileSync(join(this.dir, name), 'utf8'));
    writeFileSync(join(this.dir, 'Packages'), index.join(''));
  }

  async start(): Promise<void> {
    this.server = createServer((request, response) => {
      const file = join(this.dir, basename(decodeURIComponent(request.url ?? '')));
      if (!existsSync(file) || statSync(file).isDirectory()) return void response.writeHead(404).end();
      response.writeHead(200, { 'content-length': statSync(file).size });
      setTimeout(() => createReadStream(file).pipe(response), file.endsWith('.deb') ? this.delayMs : 0);
    });
    await new Promise<void>((resolve) => this.server?.listen(this.port, '127.0.0.1', resolve));
    this.port = (this.server.address() as AddressInfo).port;
  }

  /** It does not answer any more; connections under way are cut. */
  async stop(): Promise<void> {
    const server = this.server;
    this.server = undefined;
    server?.closeAllConnections();
    await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())));
  }

  /** A line for apt's sources. */
  get source(): string {
    return `deb [trusted=yes] http://127.0.0.1:${this.port} ./\n`;
  }
}

function build(dir: string, { name, version = '1.0', depends, conflicts, postinst, bytes = 0 }: TestPackage): void {
  const tree = join(dir, `${name}.tree`);
  mkdirSync(join(tree, 'DEBIAN'), { recursive: true });
  mkdirSync(join(tree, 'usr/share', name), { recursive: true });
  writeFileSync(join(tree, 'usr/share', name, 'version'), `${version}\n`);
  if (bytes > 0) writeFileSync(join(tree, 'usr/share', name, 'filling'), execFileSync('head', ['-c', String(bytes), '/dev/urandom'], { maxBuffer: 1 << 28 }));
  const control = [`Package: ${name}`, `Version: ${version}`, 'Architecture: all', 'Maintainer: test <test@invalid>', ...(depends === undefined ? [] : [`Depends: ${depends}`]), ...(conflicts === undefined ? [] : [`Conflicts: ${conflicts}`]), 'Description: test', ''].join('\n');
  writeFileSync(join(tree, 'DEBIAN/control'), control);
  if (postinst !== undefined) writeFileSync(join(tree, 'DEBIAN/postinst'), `#!/bin/sh\n${postinst}\n`, { mode: 0o755 });
  const deb = `${name}_${version}_all.deb`;
  execFileSync('dpkg-deb', ['--root-owner-group', '-Zgzip', '-z1', '-b', tree, join(dir, deb)], { stdio: 'ignore' });
  rmSync(tree, { recursive: true });
  const content = readFileSync(join(dir, deb));
  writeFileSync(join(dir, `${name}.control`), `${control}Filename: ./${deb}\nSize: ${content.length}\nSHA256: ${createHash('sha256').update(content).digest('hex')}\n\n`);
}
