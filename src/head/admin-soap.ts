/**
 * wsdl/admin.wsdl on the head's HTTPS port: operations to ports, and who may call them. An area more is a port in HeadAdmin,
 * its operations in soap/contract.ts, and its lines here.
 */
import { GridError } from '../domain/error.js';
import { checkName } from '../domain/names.js';
import type { HeadAdmin } from '../ports.js';
import type { adminOperations } from '../soap/contract.js';
import type { Handlers } from '../soap/server.js';

/** @throws not-authorized naming who may */
export function checkAdministrator(subject: string, administrators: readonly string[]): void {
  if (administrators.includes(subject)) return;
  throw new GridError('not-authorized', `${subject} is no administrator of this head`, { hint: 'the head\'s own certificate is (root on its machine: gridvc --head), and who is named in its setting "administrators"' });
}

/** @param stopping ends a build that is under way when the head stops */
export function adminHandlers(admin: HeadAdmin, stopping: AbortSignal): Handlers<typeof adminOperations, void> {
  const { site, images, estimates, hosts } = admin;
  return {
    listImages: async () => ({ site, images: await images.images() }),
    showImage: async (_, { name }) => ({ site, image: await images.image(name) }),
    buildImage: async (_, asked) => {
      checkName('os', asked.os);
      for (const name of asked.packages) checkName('package', name);
      for (const name of asked.bundles) checkName('bundle', name);
      if (asked.packages.length + asked.bundles.length === 0) throw new GridError('bad-request', 'an image of which packages or bundles?');
      return { site, image: await images.build(asked, stopping) };
    },
    collectImages: async () => ({ site, collected: await images.collect() }),
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
