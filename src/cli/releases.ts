/** What was acquired and must be given back: last in first out, all run, the first error is kept. */
export class Releases {
  private readonly steps: (() => Promise<unknown> | unknown)[] = [];

  /** Call it in the line after the acquisition. */
  add(step: () => Promise<unknown> | unknown): void {
    this.steps.push(step);
  }

  /** Nothing is to be undone any more. */
  keep(): void {
    this.steps.length = 0;
  }

  /** Runs every step, each once. @throws the first error, after all have run */
  async run(): Promise<void> {
    let first: unknown;
    for (let step = this.steps.pop(); step !== undefined; step = this.steps.pop()) {
      try {
        await step();
      } catch (error) {
        first ??= error;
      }
    }
    if (first !== undefined) throw first;
  }
}
