/**
 * wsdl/admin.wsdl on the head's HTTPS port: operations to ports, and who may call them. An area more is a port in HeadAdmin,
 * its operations in soap/contract.ts, and its lines here.
 */
import { GridError } from '../domain/error.js';
import type { HeadAdmin } from '../ports.js';
import type { adminOperations } from '../soap/contract.js';
import type { Handlers } from '../soap/server.js';

/** @throws not-authorized naming who may */
export function checkAdministrator(subject: string, administrators: readonly string[]): void {
  if (administrators.includes(subject)) return;
  throw new GridError('not-authorized', `${subject} is no administrator of this head`, { hint: 'the head\'s own certificate is (root on its machine: gridvc --head), and who is named in its setting "administrators"' });
}

export function adminHandlers(admin: HeadAdmin): Handlers<typeof adminOperations, void> {
  const { site, images, estimates, hosts } = admin;
  return {
    listImages: async () => ({ site, images: await images.list() }),
    showImage: async (_, { key }) => ({ site, detail: await images.show(key) }),
    reportEstimates: async () => ({ report: await estimates.report() }),
    listHosts: async () => ({ site, hosts: await hosts.list() }),
    addHost: async (_, { host }) => ({ site, host: await hosts.add(host) }),
    setHostState: async (_, { name, state }) => ({ site, host: await hosts.setState(name, state) }),
    removeHost: async (_, { name }) => {
      await hosts.remove(name);
      return { site };
    },
    checkHost: async (_, { name }) => ({ site, host: await hosts.check(name) }),
    explainEstimate: async (_, { cluster }) => ({ explanation: await estimates.explain(cluster) }),
  };
}
