export interface CircuitsOptions {
  /** Resolves when what has this name answers again. */
  readonly probe: (name: string) => Promise<unknown>;
  readonly probeIntervalMs: number;
}

/** More are as one: nothing is counted until all of them answer. */
const MAX_OPEN = 1_000;
const PROBES_AT_ONCE = 50;

/** Remembers what does not answer, so that nobody waits for it, and asks behind that until it does. */
export class Circuits {
  readonly #options: CircuitsOptions;
  readonly #open = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: CircuitsOptions) {
    this.#options = options;
  }

  get anyOpen(): boolean {
    return this.#open.size > 0;
  }

  isOpen(name: string): boolean {
    return this.#open.size > 0 && (this.#open.has(name) || this.#open.size >= MAX_OPEN);
  }

  open(name: string): void {
    // What was under way fails when all is closed, and nobody would ever end the asking.
    if (this.#isClosed) return;
    if (this.#open.size < MAX_OPEN) this.#open.add(name);
    this.#timer ??= setTimeout(() => void this.#probeAll(), this.#options.probeIntervalMs).unref();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#open.clear();
  }

  async #probeAll(): Promise<void> {
    // Those that still don't answer go to the end.
    const names = [...this.#open].slice(0, PROBES_AT_ONCE);
    await Promise.all(
      names.map(async (name) => {
        const answers = await this.#options.probe(name).then(
          () => true,
          () => false,
        );
        if (!this.#open.delete(name) || answers) return;
        this.#open.add(name);
      }),
    );
    this.#timer = undefined;
    const [next] = this.#open;
    if (next !== undefined) this.open(next);
  }
}
