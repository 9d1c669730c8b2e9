/** One cluster on its way up, alive, or on its way down: the tools it needs and what its steps have found. */
import type { Log } from '../../src/log.js';
import type { Pool } from '../../src/overlay/addresses.js';
import type { UploadStore } from '../../src/ports.js';
import type { Database } from '../../src/store/database.js';
import type { SecretFiles } from '../../src/store/secrets.js';
import type { Hub } from '../hub/hub.js';
import type { Sites } from '../sites.js';
import type { Material, OverlaySettings } from './material.js';
import type { ClusterRecords } from './records.js';
import type { Roll } from './roll.js';

/** What all clusters share, wired in main.ts. */
export interface Tools {
  readonly db: Database;
  readonly records: ClusterRecords;
  readonly secrets: SecretFiles<Material>;
  readonly sites: Sites;
  readonly uploads: UploadStore;
  readonly overlay: OverlaySettings & { readonly pool: Pool; readonly ports: { readonly first: number; readonly last: number } };
  /** hubs/<cluster>/ are made here. */
  readonly home: string;
  /** Longest lease in minutes: a hub's certificate lasts that long, so that extending a lease needs no new one. */
  readonly longestLease: number;
  readonly log: Log;
}

export interface Job {
  readonly tools: Tools;
  readonly id: string;
  /** Aborted by destroy and by the gatekeeper's own end. */
  readonly signal: AbortSignal;
  readonly log: Log;
  found: { material?: Material; hub?: Hub; roll?: Roll };
}
