/** Puts GRAM together: contacts, couriers, jobs, door. The order matters: jobs need the first two, the door needs all. */
import { isIP } from 'node:net';
import { GridError } from '../../src/domain/error.js';
import type { Caller } from '../../src/domain/views.js';
import type { Log } from '../../src/log.js';
import { readCertificate, type Certificate } from '../../src/pki/certificate.js';
import { isHostName, readGeneralNames } from '../../src/pki/general-names.js';
import * as oids from '../../src/pki/oids.js';
import { certificatesOf } from '../../src/pki/pem.js';
import { makeContacts, type Contacts } from './contact.js';
import { GsiCouriers } from './couriers.js';
import type { Identify } from './delegation.js';
import type { Couriers, GramJobs } from './port.js';
import { serveGram, type GramServer } from './server.js';
import { Traffic } from './traffic.js';
import { isLoopback } from './user-connection.js';

/** As in the gatekeeper's configuration. */
export interface GramSettings {
  readonly host: string;
  readonly port: number;
  /** Host name in job contacts. */
  readonly name?: string | undefined;
  /** Callbacks and GASS may go to loopback addresses. */
  readonly loopback?: boolean | undefined;
}

export interface GramParts {
  readonly settings: GramSettings;
  /** PEM of the host. */
  readonly certificate: string;
  readonly key: string;
  readonly authenticate: (chain: readonly Uint8Array[], now: Date) => Caller;
  readonly identify: Identify;
  /** Makes the jobs, and takes up those of an earlier run. */
  readonly jobs: (couriers: Couriers, contacts: Contacts, traffic: Traffic) => Promise<GramJobs>;
  readonly log: Log;
}

/** Listens when it returns. `bad-request` if no host name is known for job contacts, `unavailable` if the port is taken. */
export async function openGram(parts: GramParts): Promise<GramServer> {
  const { settings, certificate, key, authenticate, identify, log } = parts;
  const [own] = certificatesOf(certificate);
  if (!own) throw new GridError('bad-request', 'the host certificate file holds no certificate');
  const read = readCertificate(own);
  const host = settings.name ?? hostNameOf(read);
  if (host === undefined) throw new GridError('bad-request', 'gram.name is missing, and the host certificate has no DNS name', { hint: 'set gram.name to the name by which clients reach this host' });
  const contacts = makeContacts({ host, port: settings.port, subject: read.subject });
  const loopback = settings.loopback ?? (isIP(settings.host) !== 0 && isLoopback(settings.host));
  const couriers = new GsiCouriers({ identify, loopback, contacts, log });
  const traffic = new Traffic();
  const jobs = await parts.jobs(couriers, contacts, traffic);
  return serveGram({ ...settings, certificate, key, contacts, jobs, traffic, authenticate, identify, log });
}

/** The first DNS name of a certificate that is a whole host name. */
function hostNameOf(certificate: Certificate): string | undefined {
  const names = certificate.extensions.get(oids.subjectAltName);
  return names && readGeneralNames(names.value).flatMap((name) => (name.form === 'dns' && isHostName(name.text) ? [name.text] : []))[0];
}
