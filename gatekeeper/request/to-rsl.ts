/** A checked request as RSL text; fromRsl and checkRequest read it back to the same request. */
import type { ClusterRequest, RequestFile } from '../../src/domain/request.js';
import { printRsl } from '../../src/rsl/print.js';
import type { RslRelation, RslValue } from '../../src/rsl/tree.js';

/** Lists that are empty are left out, everything else is spelled out. */
export function toRsl(request: ClusterRequest): string {
  const children = [
    relation('count', [request.count]),
    // with on_failure=any the least is always one, and saying so is needless
    ...(request.onFailure === 'minimum' ? [relation('min_count', [request.minCount])] : []),
    relation('memory', [request.memory]),
    relation('disk', [request.disk]),
    relation('vcpus', [request.vcpus]),
    relation('os', [request.os]),
    ...list('packages', request.packages),
    ...list('bundles', request.bundles),
    ...(request.files.length > 0 ? [{ ...relation('files', []), values: request.files.map(fileValue) }] : []),
    relation('max_wall_time', [request.lifetime]),
    ...list('sites', request.sites),
    relation('placement', [request.placement]),
    relation('on_failure', [request.onFailure]),
    ...list('ssh_key', request.sshKeys),
    ...(request.exact ? [relation('exact', ['yes'])] : []),
  ];
  return printRsl({ kind: 'boolean', operator: '&', children, at: 0 });
}

function list(attribute: string, values: readonly string[]): RslRelation[] {
  return values.length > 0 ? [relation(attribute, values)] : [];
}

function relation(attribute: string, values: readonly (string | number)[]): RslRelation {
  return { kind: 'relation', attribute, operator: '=', values: values.map(literal), at: 0 };
}

function literal(value: string | number): RslValue {
  return { kind: 'literal', text: String(value) };
}

function fileValue({ path, mode, source }: RequestFile): RslValue {
  const content = source.kind === 'upload' ? source.id : source.base64;
  return { kind: 'sequence', values: [path, source.kind, content, mode.toString(8).padStart(4, '0')].map(literal) };
}
