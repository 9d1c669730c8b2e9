/** What can be asked of a gatekeeper, by name: the operations of its WSDLs and those that have none. */
export const operations = [
  'plan',
  'createCluster',
  'getCluster',
  'listClusters',
  'awaitEvents',
  'extendLifetime',
  'destroyCluster',
  'getAccess',
  'openTunnel', // GET /tunnel/<cluster>/<node>
  'submitJob', // GRAM: globusrun and its like
  'putFile', // PUT /files
  'requestDelegation',
  'putDelegation',
  'anyOwner', // besides the operation itself: with other owners' clusters, too
  'registerSite',
  'setSiteState',
  'listSites',
  'unregisterSite',
] as const;

export type Operation = (typeof operations)[number];
