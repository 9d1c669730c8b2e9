/** The demo's own proxy certificate, made of the embedded grid's user certificate, and a client that signs in by it. */
import { readFileSync } from 'node:fs';
import { issueProxy } from '../../pki/issue.js';
import { formatProxy, proxyInfo, writeProxyFile } from '../../pki/proxy-file.js';
import { ClusterClient } from '../../soap/client.js';
import { readIdentity } from '../connect.js';
import type { GridLayout } from '../grid/layout.js';
import { clock } from '../terminal.js';

const proxyHours = 12;

/** @param now Unix ms. @returns the client, and lines that show the proxy */
export async function signIn(layout: GridLayout, now: number): Promise<{ client: ClusterClient; lines: string }> {
  const issuer = { certificate: readFileSync(layout.user.certificate, 'utf8'), key: readFileSync(layout.user.key, 'utf8') };
  const { chain, key = '' } = await issueProxy({ issuer, notAfter: new Date(now + proxyHours * 3_600_000) });
  await writeProxyFile(layout.user.proxy, { chain, key });
  const info = proxyInfo(formatProxy({ chain, key }));
  const tls = readIdentity({ kind: 'proxy', certificate: layout.user.proxy, key: layout.user.proxy, from: 'the demo' }, layout.trust);
  const lines = [`  subject : ${info.subject}`, `  identity: ${info.identity}`, `  file    : ${layout.user.proxy}`, `  timeleft: ${clock(info.secondsLeft * 1000)}`];
  return { client: new ClusterClient({ url: layout.gatekeeper.url, tls }), lines: lines.join('\n') };
}
