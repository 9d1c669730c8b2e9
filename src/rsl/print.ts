/** A tree to RSL 1.0 text that every RSL parser reads back to the same tree. */
import type { RslNode, RslValue } from './tree.js';

/** On one line, words quoted only where they must be. */
export function printRsl(node: RslNode): string {
  if (node.kind === 'relation') return `${printLiteral(node.attribute)}${node.operator}${node.values.map(printValue).join(' ')}`;
  return `${node.operator}${node.children.map((child) => `(${printRsl(child)})`).join('')}`;
}

function printValue(value: RslValue): string {
  switch (value.kind) {
    case 'literal':
      return printLiteral(value.text);
    case 'sequence':
      return value.values.length === 0 ? '( )' : `(${value.values.map(printValue).join(' ')})`;
    case 'variable':
      return `$(${printLiteral(value.name)}${value.fallback ? ` ${printValue(value.fallback)}` : ''})`;
    case 'concatenation':
      return value.parts.map(printValue).join(' # ');
    default:
      return value satisfies never;
  }
}

/** Bare if no sign of it means anything to RSL (a leading `*` would open a comment after a parenthesis). */
function printLiteral(text: string): string {
  return /^[A-Za-z0-9_./:@,%~-]+$/.test(text) ? text : `"${text.replaceAll('"', '""')}"`;
}
