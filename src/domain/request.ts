/**
 * What a user asks for. XML elements and RSL text both become a RawRequest; `checkRequest`
 * (request-check.ts) turns that into a ClusterRequest or refuses it by name.
 */

/** What to do when some nodes or sites fail: give up, go on with min_count, go on with any. */
export const failurePolicies = ['all', 'minimum', 'any'] as const;
export type FailurePolicy = (typeof failurePolicies)[number];

/** A file for every node: inline content or an upload made before by HTTPS PUT. */
export interface RequestFile {
  /** Absolute path in the node, checked: no `..`, no control characters. */
  readonly path: string;
  /** Permission bits, e.g. 0o644. */
  readonly mode: number;
  readonly source: { readonly kind: 'inline'; readonly base64: string } | { readonly kind: 'upload'; readonly id: string };
}

export interface ClusterRequest {
  readonly count: number;
  readonly minCount: number;
  /** MiB per node. */
  readonly memory: number;
  /** MiB per node. */
  readonly disk: number;
  readonly vcpus: number;
  /** Debian release code name. */
  readonly os: string;
  readonly packages: readonly string[];
  readonly bundles: readonly string[];
  /** True: the nodes have what was asked and its dependencies, nothing more; else a cached image may hold more. */
  readonly exact: boolean;
  readonly files: readonly RequestFile[];
  /** Minutes from creation until everything is torn down (max_wall_time). */
  readonly lifetime: number;
  /** Sites that may be used, in order of preference; empty: any. `spread` uses all of them evenly. */
  readonly sites: readonly string[];
  readonly placement: 'pack' | 'spread';
  readonly onFailure: FailurePolicy;
  /** OpenSSH public keys that may log in on every node. */
  readonly sshKeys: readonly string[];
}

/** The attributes as they came, before any rule: name (canonical, see canonicalName) to values in order. */
export interface RawRequest {
  readonly attributes: ReadonlyMap<string, readonly string[]>;
  readonly files: readonly RawFile[];
}

export interface RawFile {
  readonly path: string;
  readonly mode?: string;
  readonly content?: string; // base64
  readonly upload?: string;
}

/** Names are case-insensitive and ignore `_` (RSL 1.0): `max_wall_time` and `MaxWallTime` are one. */
export function canonicalName(name: string): string {
  return name.toLowerCase().replaceAll('_', '');
}
