/**
 * Predicted against measured seconds of bringing images to hosts: real layers, over ssh, to hosts in network namespaces of their own behind one
 * link whose rate is limited as a network's is (the paper had 100 Mbit/s). Every transfer is predicted before it is made, by what the ones
 * before have taught: the first of an image to so many hosts by the line in bytes and hosts, later ones by their like (the paper's way).
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DirectDistributor } from '../../src/distribute/direct.js';
import { medianOf } from '../../src/domain/estimate/line.js';
import { coldSite, learn, predict, type SiteModels } from '../../src/domain/estimate/site.js';
import type { Layer } from '../../src/domain/image.js';
import { SshTransport } from '../../src/node/ssh.js';
import { testBase, testCache, testImage, testKernel, workshop } from '../support/layers.js';
import { startSshd } from '../support/sshd.js';
import { percent } from './docs-section.js';
import { errorsOf } from './estimate-folds.js';

const rate = 400; // Mbit/s, of the one link that leads to all hosts
const mostHosts = 4;
const rounds = 4;
const subnet = '198.18.201';

interface Sent {
  readonly image: string;
  readonly bytes: number;
  readonly hosts: number;
  /** How many such transfers the model had seen. */
  readonly seen: number;
  readonly predicted: number;
  readonly measured: number;
}

export async function benchTransfer(): Promise<void> {
  const base = await testBase();
  const images: Readonly<Record<string, readonly Layer[]>> = {
    'base': [base],
    'base and kernel': [base, await testKernel()],
    'base and MPI': await testImage(['mpi-default-bin', 'mpi-default-dev']),
    'base and a small delta': await testImage(['figlet']),
  };
  const undo: (() => unknown)[] = [];
  try {
    const hosts = await raiseHosts(undo);
    const rows = await sendAll(images, hosts);
    console.log(table(rows));
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

/** Every image to 1, 2 and 4 hosts in turn, several rounds; hosts are empty before each. */
async function sendAll(images: Readonly<Record<string, readonly Layer[]>>, hosts: readonly SshTransport[]): Promise<readonly Sent[]> {
  const { store } = workshop(testCache);
  const rows: Sent[] = [];
  let models: SiteModels = coldSite;
  for (let seen = 0; seen < rounds; seen++) {
    for (const count of [1, 2, mostHosts]) {
      for (const [image, layers] of Object.entries(images)) {
        const home = mkdtempSync(join(tmpdir(), 'gridvc-transfer-'));
        const distributor = new DirectDistributor({ source: (digest) => store.path(digest), home: (host) => join(home, host) });
        const work = { stage: 'distribute', image, items: count, bytes: count * layers.reduce((sum, { bytes }) => sum + bytes, 0) } as const;
        const predicted = predict(models, work).seconds;
        const begun = performance.now();
        try {
          await distributor.distribute(layers, hosts.slice(0, count));
        } finally {
          rmSync(home, { recursive: true, force: true });
        }
        const measured = (performance.now() - begun) / 1000;
        models = learn(models, { ...work, seconds: measured });
        rows.push({ image, hosts: count, bytes: work.bytes, seen, predicted, measured });
      }
    }
  }
  return rows;
}

/** Namespaces with an sshd each, on a bridge in one more, which the limited link leads to. What undoes it is added as it is made. */
async function raiseHosts(undo: (() => unknown)[]): Promise<readonly SshTransport[]> {
  const run = (...argv: readonly string[]): string => execFileSync(argv[0] ?? '', argv.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  const namespace = (name: string): void => {
    run('ip', 'netns', 'add', name);
    undo.push(() => run('ip', 'netns', 'del', name));
    run('ip', '-n', name, 'link', 'set', 'lo', 'up');
  };
  namespace('gvtransfer');
  run('ip', '-n', 'gvtransfer', 'link', 'add', 'br0', 'type', 'bridge');
  run('ip', '-n', 'gvtransfer', 'link', 'set', 'br0', 'up');
  run('ip', 'link', 'add', 'gvtransfer', 'type', 'veth', 'peer', 'name', 'up0', 'netns', 'gvtransfer');
  undo.push(() => execFileSync('sh', ['-c', 'ip link del gvtransfer 2> /dev/null || true'])); // it goes with the namespace
  run('ip', '-n', 'gvtransfer', 'link', 'set', 'up0', 'master', 'br0', 'up');
  run('ip', 'addr', 'add', `${subnet}.1/24`, 'dev', 'gvtransfer');
  run('ip', 'link', 'set', 'gvtransfer', 'up');
  run('tc', 'qdisc', 'add', 'dev', 'gvtransfer', 'root', 'tbf', 'rate', `${rate}mbit`, 'burst', '256kb', 'latency', '50ms');
  const keys = mkdtempSync(join(tmpdir(), 'gridvc-transfer-sshd-'));
  undo.push(() => rmSync(keys, { recursive: true, force: true }));
  const hosts: SshTransport[] = [];
  for (let n = 1; n <= mostHosts; n++) {
    const netns = `gvtransfer-${n}`;
    namespace(netns);
    run('ip', 'link', 'add', `h${n}`, 'netns', 'gvtransfer', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns);
    run('ip', '-n', 'gvtransfer', 'link', 'set', `h${n}`, 'master', 'br0', 'up');
    const address = `${subnet}.${10 + n}`;
    run('ip', '-n', netns, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
    run('ip', '-n', netns, 'link', 'set', 'eth0', 'up');
    const sshd = await startSshd(join(keys, `${n}`), { address, netns });
    undo.push(() => sshd.stop());
    const transport = new SshTransport({ host: `host${n}`, address, port: sshd.port, user: 'root', key: sshd.key, knownHosts: sshd.knownHosts });
    undo.push(() => transport.close());
    await transport.run(['true']); // kept connections, as a head has
    hosts.push(transport);
  }
  return hosts;
}

function table(rows: readonly Sent[]): string {
  const line = ({ image, hosts, bytes, seen, predicted, measured }: Sent): string =>
    `| ${image} | ${hosts} | ${(bytes / 1e6).toFixed(0)} | ${seen} | ${predicted.toFixed(2)} | ${measured.toFixed(2)} | ${percent(error({ predicted, measured }))} |`;
  const summary = [...new Set(rows.map(({ seen }) => seen))].map((seen) => {
    const alike = rows.filter((row) => row.seen === seen);
    const { mean, worst } = errorsOf(alike, ({ predicted }) => predicted);
    return `| ${seen} | ${alike.length} | ${percent(mean)} | ${percent(medianOf(alike.map((row) => Math.abs(error(row)))))} | ${percent(worst)} |`;
  });
  return [
    `One link of ${rate} Mbit/s to all hosts; transfers in the order in which they were made.`,
    '',
    '| seen before | transfers | mean error | median | worst |', '|---|---|---|---|---|', ...summary,
    '',
    '| image | hosts | MB sent | seen before | predicted s | measured s | error |', '|---|---|---|---|---|---|---|', ...rows.map(line),
  ].join('\n');
}

function error({ predicted, measured }: { predicted: number; measured: number }): number {
  return predicted / measured - 1;
}
