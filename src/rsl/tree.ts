/** RSL 1.0 as a tree. */

export type RslValue =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'sequence'; readonly values: readonly RslValue[] }
  /** $(NAME) or $(NAME default) */
  | { readonly kind: 'variable'; readonly name: string; readonly fallback?: RslValue; readonly at: number }
  /** a # b */
  | { readonly kind: 'concatenation'; readonly parts: readonly RslValue[] };

export const rslOperators = ['=', '!=', '<', '>', '<=', '>='] as const;
export type RslOperator = (typeof rslOperators)[number];

export interface RslRelation {
  readonly kind: 'relation';
  readonly attribute: string;
  readonly operator: RslOperator;
  readonly values: readonly RslValue[];
  /** Offset of the attribute in the text, for messages. */
  readonly at: number;
}

export interface RslBoolean {
  readonly kind: 'boolean';
  /** & all of, | one of, + several requests. */
  readonly operator: '&' | '|' | '+';
  readonly children: readonly RslNode[];
  readonly at: number;
}

export type RslNode = RslRelation | RslBoolean;

export const rslLimits = { characters: 64 * 1024, nesting: 32 } as const;
