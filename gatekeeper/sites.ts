/**
 * The grid's sites: a registry in Postgres, one kept connection to each head, and what the heads say of themselves.
 * A head counts as alive if it answers within `answerSeconds`.
 */
import { roomFor } from '../src/domain/capacity.js';
import { GridError, isGridError } from '../src/domain/error.js';
import { checkName } from '../src/domain/names.js';
import type { Caller, SiteSnapshot, SiteState, SiteView } from '../src/domain/views.js';
import type { HeadService, SiteService } from '../src/ports.js';
import type { Log } from '../src/log.js';
import type { Database } from '../src/store/database.js';
import { Authorizer } from './authorization/authorizer.js';
import type { KnownSite } from './schedule.js';

const answerSeconds = 3;
/** `freeNodes` of a site counts nodes of the default size. */
const usualNode = { memory: 320, disk: 1600, vcpus: 1 };

export type HeadConnection = HeadService & { close(): void };

interface SiteRow {
  readonly name: string;
  readonly url: string;
  readonly subject: string;
  readonly state: SiteState;
}

export class Sites implements SiteService {
  private readonly connections = new Map<string, { key: string; head: HeadConnection }>();

  /** @param connect opens a connection to the head at `url`, whose certificate must have `subject` */
  constructor(
    private readonly db: Database,
    private readonly connect: (site: { url: string; subject: string }) => HeadConnection,
    private readonly log: Log,
    private readonly authorizer: Authorizer = new Authorizer({}, log),
  ) {}

  /** The head of a site; not-found if it is not registered. */
  async head(name: string): Promise<HeadService> {
    return this.connection(await this.row(name));
  }

  /** Every site with its state and, where it is open and answers within `seconds`, its snapshot. @param meanwhile may ask each open head more at the same time */
  async known(seconds = answerSeconds, meanwhile: (site: string, head: HeadService) => void = () => {}): Promise<readonly KnownSite[]> {
    const rows = await this.rows();
    return Promise.all(
      rows.map(async (row) => {
        if (row.state === 'open') meanwhile(row.name, this.connection(row));
        const snapshot = row.state === 'open' ? await this.snapshot(row, seconds) : undefined;
        return { name: row.name, state: row.state, ...(snapshot ? { snapshot } : {}) };
      }),
    );
  }

  async registerSite(caller: Caller, site: { name: string; url: string; subject: string }): Promise<SiteView> {
    this.authorizer.check(caller, 'registerSite');
    checkName('site', site.name);
    if (!URL.canParse(site.url) || new URL(site.url).protocol !== 'https:') throw new GridError('bad-request', `${JSON.stringify(site.url.slice(0, 200))} is not an https URL`, { hint: 'like https://head.example.org:8451' });
    if (!site.subject.startsWith('/')) throw new GridError('bad-request', `${JSON.stringify(site.subject.slice(0, 200))} is not a subject DN`, { hint: 'like /O=Grid/CN=head.example.org' });
    const head = this.connect(site);
    try {
      const snapshot = await inTime(head.snapshot(), `the head at ${site.url}`, answerSeconds);
      if (snapshot.site !== site.name) throw new GridError('conflict', `the head at ${site.url} serves site ${snapshot.site}, not ${site.name}`);
    } finally {
      head.close();
    }
    await this.db.rows('putSite', site.name, site.url, site.subject);
    this.log.info({ site: site.name, url: site.url, by: caller.subject }, 'site registered');
    return this.view(await this.row(site.name));
  }

  async setSiteState(caller: Caller, name: string, state: SiteState): Promise<SiteView> {
    this.authorizer.check(caller, 'setSiteState');
    if ((await this.db.row('setSiteState', name, state)) === undefined) throw notFound(name);
    this.log.info({ site: name, state, by: caller.subject }, 'site state set');
    return this.view(await this.row(name));
  }

  async listSites(caller: Caller): Promise<readonly SiteView[]> {
    this.authorizer.check(caller, 'listSites');
    return Promise.all((await this.rows()).map((row) => this.view(row)));
  }

  async unregisterSite(caller: Caller, name: string): Promise<void> {
    this.authorizer.check(caller, 'unregisterSite');
    await this.row(name);
    if ((await this.db.row('removeSite', name)) === undefined) {
      const living = await this.db.rows<{ cluster: string }>('livingParts', name);
      throw new GridError('wrong-state', `site ${name} still has nodes of ${living.map((part) => part.cluster).join(', ')}`, { hint: 'set it to draining, and wait for or destroy these clusters' });
    }
    this.connections.get(name)?.head.close();
    this.connections.delete(name);
    this.log.info({ site: name, by: caller.subject }, 'site unregistered');
  }

  close(): void {
    for (const { head } of this.connections.values()) head.close();
    this.connections.clear();
  }

  private rows(): Promise<readonly SiteRow[]> {
    return this.db.rows<SiteRow>('sites');
  }

  private async row(name: string): Promise<SiteRow> {
    const row = (await this.rows()).find((one) => one.name === name);
    if (row === undefined) throw notFound(name);
    return row;
  }

  private connection(row: SiteRow): HeadConnection {
    const key = `${row.url} ${row.subject}`;
    const kept = this.connections.get(row.name);
    if (kept?.key === key) return kept.head;
    kept?.head.close(); // it was registered again, elsewhere
    const head = this.connect(row);
    this.connections.set(row.name, { key, head });
    return head;
  }

  private async snapshot(row: SiteRow, seconds = answerSeconds): Promise<SiteSnapshot | undefined> {
    try {
      return await inTime(this.connection(row).snapshot(), `site ${row.name}`, seconds);
    } catch (error) {
      this.log.warn({ site: row.name, err: error }, 'a site does not answer');
      return undefined;
    }
  }

  private async view(row: SiteRow): Promise<SiteView> {
    const hosts = await this.snapshot(row);
    return {
      ...row,
      alive: hosts !== undefined,
      freeNodes: (hosts?.hosts ?? []).reduce((sum, host) => sum + roomFor(usualNode, host), 0),
      freeMemory: (hosts?.hosts ?? []).reduce((sum, host) => sum + host.freeMemory, 0),
    };
  }
}

function notFound(name: string): GridError {
  return new GridError('not-found', `there is no site ${JSON.stringify(name.slice(0, 80))}`, { hint: 'listSites shows them' });
}

async function inTime<T>(work: Promise<T>, who: string, seconds: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new GridError('unavailable', `${who} did not answer within ${seconds} s`)), seconds * 1000);
  });
  try {
    return await Promise.race([work, late]);
  } catch (error) {
    throw isGridError(error) ? error : new GridError('unavailable', `${who} does not answer: ${(error as Error).message}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}
