import { isGridError, type GridError } from '../../src/domain/error.js';

/** The GridError that the work is refused with. @throws what else comes of it */
export async function refusal(work: Promise<unknown>): Promise<GridError> {
  const error = await work.then((value) => new Error(`it was not refused: ${JSON.stringify(value)}`), (cause: unknown) => cause);
  if (isGridError(error)) return error;
  throw error;
}
