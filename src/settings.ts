/** Configuration files: raw YAML to a typed, frozen value. Unknown and contradictory settings are refused by name. */
import { parse } from 'yaml';
import type { z } from 'zod';
import { GridError } from './domain/error.js';

/** @throws GridError bad-request listing every wrong setting with its path */
export function readSettings<S extends z.ZodType>(text: string, file: string, schema: S): Readonly<z.infer<S>> {
  let raw: unknown;
  try {
    raw = parse(text);
  } catch (error) {
    throw new GridError('bad-request', `${file} is not YAML: ${(error as Error).message}`);
  }
  const result = schema.safeParse(raw);
  if (!result.success) throw new GridError('bad-request', `${file}: ${result.error.issues.map((issue) => `${issue.path.join('.') || 'top level'}: ${issue.message}`).join('; ')}`);
  return Object.freeze(result.data);
}
