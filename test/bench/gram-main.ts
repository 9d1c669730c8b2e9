/** `npm run bench:gram`: the embedded grid with a standing cluster of one node, and the original beside it; then gram.ts compares them. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import type { ClusterView } from '../../src/domain/views.js';
import { gridLayout } from '../../src/cli/grid/layout.js';
import { issueProxy } from '../../src/pki/issue.js';
import { formatProxy } from '../../src/pki/proxy-file.js';
import { gridvc, must, prepareHome, testHome, whyNoGrid } from '../support/grid.js';
import { compare } from './gram.js';
import { startOriginal, type Original } from './original-gram.js';

const originalPort = 12119;
const layout = gridLayout(testHome, ['alpha', 'beta']);

/** The original makes its delegated RSA key as long as the proxy's is, and fails for an EC proxy: so both get an RSA one. */
async function rsaProxy(): Promise<string> {
  const issuer = { certificate: readFileSync(layout.user.certificate, 'utf8'), key: readFileSync(layout.user.key, 'utf8') };
  const { chain, key = '' } = await issueProxy({ issuer, notAfter: new Date(Date.now() + 12 * 3_600_000), kind: 'rsa' });
  const file = join(testHome, 'bench-gram-proxy.pem');
  rmSync(file, { force: true });
  writeFileSync(file, formatProxy({ chain, key }), { mode: 0o600 });
  return file;
}

async function main(): Promise<boolean> {
  const why = whyNoGrid();
  if (why !== undefined) throw new Error(why);
  prepareHome();
  await must(['grid', 'up']);
  let original: Original | undefined;
  process.once('SIGTERM', () => void original?.stop().then(() => process.exit(143)));
  try {
    await must(['proxy', 'init']);
    const cluster = JSON.parse((await must(['create', '--wait', '--json', '--count', '1', '--memory', '128', '--disk', '400'])).stdout) as ClusterView;
    const authority = { certificate: readFileSync(layout.authority.certificate, 'utf8'), key: readFileSync(layout.authority.key, 'utf8') };
    original = await startOriginal({ home: join(testHome, 'original-gram'), port: originalPort, authority, trust: layout.trust, user: cluster.owner });
    const env = { X509_CERT_DIR: layout.trust, X509_USER_PROXY: await rsaProxy(), HOME: '/root' };
    console.log(`machine: ${cpus().length} x ${cpus()[0]?.model ?? '?'}, ${Math.round(totalmem() / 2 ** 30)} GiB; ${new Date().toISOString().slice(0, 10)}\n`);
    const met = await compare(
      { name: 'original', contact: original.contact, rsl: '&(executable=/bin/true)', env },
      { name: 'gridvc', contact: 'localhost:2119', rsl: `&(cluster=${cluster.id})(executable=/bin/true)`, env },
    );
    await must(['destroy', '--wait', cluster.id]);
    return met;
  } finally {
    await original?.stop();
    await gridvc(['grid', 'down']);
  }
}

main().then(
  (met) => process.exit(met ? 0 : 1),
  (error: unknown) => {
    console.error(`bench:gram: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  },
);
