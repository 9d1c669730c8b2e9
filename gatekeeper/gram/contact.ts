/**
 * Job contacts. `https://HOST:PORT/PATH:SUBJECT`: with the subject of the host's certificate in it, the standard clients
 * expect exactly that one instead of the user's own, so that one port and one certificate serve the jobs of everybody,
 * and contacts outlive both a restart and the delegated proxy (GRAM5: P/globus_gram_protocol_io.c:2369-2382).
 */
import { GridError } from '../../src/domain/error.js';

/** Path of a contact ("/JOB/SECRET/") to the whole contact, and back. */
export interface Contacts {
  of(path: string): string;
  /** Path of a contact or of a URL's rest, with or without the subject; undefined if it is not one of ours. */
  pathOf(contact: string): string | undefined;
}

const pathPattern = /^\/[A-Za-z0-9_-]{1,80}\/(?:[A-Za-z0-9_-]{1,80}\/)?$/;

/** @param at host and port as clients reach them, and the subject (Globus DN) of the certificate there; bad-request if the subject has a `:` */
export function makeContacts(at: { readonly host: string; readonly port: number; readonly subject: string }): Contacts {
  if (/[:"\x00-\x1f]/.test(at.subject)) throw new GridError('bad-request', `the subject ${at.subject} of the host certificate cannot stand in a job contact: it has a colon or a quote`, { hint: 'GRAM needs a host certificate with another name, e.g. /O=Grid/CN=gatekeeper.example.org' });
  const origin = `https://${at.host.includes(':') ? `[${at.host}]` : at.host}:${at.port}`;
  return {
    of: (path) => `${origin}${path}:${at.subject}`,
    pathOf: (contact) => {
      const path = contact.replace(/^https:\/\/(?:\[[0-9A-Fa-f:.]{2,64}\]|[A-Za-z0-9._-]{1,253})(?::\d{1,5})?(?=\/)/, '').replace(/:\/.*$/s, '');
      return pathPattern.test(path) ? path : undefined;
    },
  };
}
