/**
 * The runs behind the paper's tables: a head of the embedded grid whose only compute host is reached by ssh, made fresh for each run, so
 * that every image really travels, as in the paper. The cache is what the run says it is: empty, the common packages, or the very image.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { awaitDaemon, startDaemon, stopProcess } from '../../../src/cli/grid/daemons.js';
import type { SiteLayout } from '../../../src/cli/grid/layout.js';
import type { ClusterView } from '../../../src/domain/views.js';
import type { Stage } from '../../../src/domain/plan.js';
import { endClusters, must } from '../../support/grid.js';
import { startSshd, type TestSshd } from '../../support/sshd.js';
import { common, type ConfigurationName, type NodeCount } from './figures.js';

/** none: only the base image; common: and the paper's cache image; exact: the very image, on a fresh host; again: the very image, on the host that had it. */
export const modes = ['none', 'common', 'exact', 'again'] as const;
export type Mode = (typeof modes)[number];

export interface Measured {
  readonly configuration: ConfigurationName;
  readonly nodes: NodeCount;
  readonly mode: Mode;
  /** Seconds from request to verified ready. */
  readonly ready: number;
  readonly predicted: number;
  readonly stages: Partial<Record<Stage, { readonly predicted?: number; readonly measured: number }>>;
  /** Why this image. */
  readonly reason: string;
}

const noIdleWork = 1_000_000; // seconds
const roomy = 100_000; // MB of cache

export class PaperSite {
  private homes = 0;
  private constructor(
    private readonly site: SiteLayout,
    private readonly dir: string,
    private readonly sshd: TestSshd,
  ) {}

  /** The site's head keeps its images; its host becomes one over ssh. The caller closes it. */
  static async open(site: SiteLayout, dir: string): Promise<PaperSite> {
    await endClusters();
    unmountBelow(dir);
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dir, { recursive: true, mode: 0o711 });
    const paper = new PaperSite(site, dir, await startSshd(join(dir, 'sshd'), { address: site.address, netns: site.netns }));
    await paper.freshHost(roomy);
    await must(['plan', '--site', site.site, '--count', '1', '--package', 'hello'], { seconds: 900 }); // joins the making of the base image, should there be none yet
    return paper;
  }

  async close(): Promise<void> {
    await this.sshd.stop();
    this.dropHomes();
  }

  /** Runs one configuration with so many nodes in every mode, in the order in which each leaves what the next needs. */
  async measure(configuration: ConfigurationName, bundles: readonly string[], nodes: NodeCount, log: (line: string) => void): Promise<readonly Measured[]> {
    const run = async (mode: Mode): Promise<Measured> => {
      const measured = { configuration, nodes, mode, ...(await this.cluster(bundles, nodes)) };
      log(`${configuration}, ${nodes} nodes, ${mode}: ${measured.ready.toFixed(1)} s (predicted ${measured.predicted.toFixed(1)} s); ${measured.reason}`);
      return measured;
    };
    await this.freshHost(0);
    await this.collect();
    const none = await run('none');
    await this.collect();
    await this.freshHost(roomy);
    await must(['image', 'build', '--site', this.site.site, ...common.flatMap((bundle) => ['--bundle', bundle])], { seconds: 900 });
    const cached = await run('common');
    await this.freshHost(roomy);
    return [none, cached, await run('exact'), await run('again')];
  }

  private async collect(): Promise<void> {
    await must(['image', 'gc', '--site', this.site.site]);
  }

  /** Restarts the head with so many megabytes of cache and a compute host that has nothing yet. */
  private async freshHost(megabytes: number): Promise<void> {
    await stopProcess(this.site, 20);
    this.dropHomes();
    this.homes += 1;
    const config = parse(readFileSync(this.site.config, 'utf8')) as { hosts: Record<string, unknown>[]; cache?: object };
    const transport = { kind: 'ssh', address: this.site.address, port: this.sshd.port, user: 'root', key: this.sshd.key, knownHosts: this.sshd.knownHosts };
    Object.assign(config.hosts[0] ?? {}, { name: 'far1', home: join(this.dir, `host-${this.homes}`), transport });
    config.cache = { rule: 'none', megabytes, idleSeconds: noIdleWork };
    writeFileSync(this.site.config, stringify(config), { mode: 0o600 });
    await startDaemon(this.site);
    await awaitDaemon(this.site, new AbortController().signal);
  }

  private async cluster(bundles: readonly string[], nodes: number): Promise<Pick<Measured, 'ready' | 'predicted' | 'stages' | 'reason'>> {
    const words = ['create', '--wait', '--json', '--site', this.site.site, '--count', String(nodes), '--memory', '320', '--disk', '1600', ...bundles.flatMap((bundle) => ['--bundle', bundle])];
    const view = JSON.parse((await must(words, { seconds: 900 })).stdout) as ClusterView;
    const explained = JSON.parse((await must(['estimate', 'explain', '--json', '--site', this.site.site, view.id])).stdout) as { reason: string };
    await must(['destroy', '--wait', view.id]);
    const stages = Object.fromEntries(view.stages.flatMap(({ stage, predicted, elapsed }) => (elapsed === undefined ? [] : [[stage, { measured: elapsed, ...(predicted === undefined ? {} : { predicted }) }]])));
    return { ready: view.measuredSeconds ?? NaN, predicted: view.predictedSeconds, stages, reason: explained.reason };
  }

  private dropHomes(): void {
    unmountBelow(this.dir);
    for (let n = 1; n <= this.homes; n += 1) rmSync(join(this.dir, `host-${n}`), { recursive: true, force: true });
  }
}

/** Layers of hosts before are mounted still; nothing runs on them any more. */
function unmountBelow(dir: string): void {
  const points = readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' ')[1] ?? '').filter((point) => point.startsWith(`${dir}/`));
  for (const point of points.reverse()) execFileSync('umount', ['-l', point]);
}
