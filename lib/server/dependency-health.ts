/** What a service can't do its work without: a broker, a store. */
export interface Dependency {
  /** What it is called in health answers, as in `redis`. */
  readonly name: string;
  /** What grpc.health.v1 knows it by. */
  readonly healthService: string;
  /** Resolves if it answers within `timeoutMs`. */
  ping(timeoutMs: number): Promise<void>;
  /** Ends all connections. Never throws. */
  close(): Promise<void>;
}

/**
 * Whether a dependency answers, asked at most once at a time and at most every {@link REUSE_MS}: a crowd of probes is one
 * ping. With {@link WATCH_MS} and {@link PING_TIMEOUT_MS} a change is known within two seconds.
 */
export class DependencyHealth {
  readonly dependency: Dependency;
  readonly #onChange: (reachable: boolean, cause: unknown) => void;
  #asking: Promise<boolean> | undefined;
  #reachable: boolean | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(dependency: Dependency, onChange: (reachable: boolean, cause: unknown) => void) {
    this.dependency = dependency;
    this.#onChange = onChange;
  }

  /** Asks now and then again and again, so that whoever watches hears of a change. */
  watch(): void {
    void this.reachable();
    this.#timer = setInterval(() => void this.reachable(), WATCH_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  reachable(): Promise<boolean> {
    // One at a time: the failure of an old question must not come after the success of a newer one.
    this.#asking ??= this.dependency
      .ping(PING_TIMEOUT_MS)
      .then(
        () => this.#settle(true),
        (error: unknown) => this.#settle(false, error),
      )
      .finally(() => {
        setTimeout(() => {
          this.#asking = undefined;
        }, REUSE_MS).unref();
      });
    return this.#asking;
  }

  #settle(reachable: boolean, cause?: unknown): boolean {
    if (this.#reachable !== reachable) {
      this.#reachable = reachable;
      this.#onChange(reachable, cause);
    }
    return reachable;
  }
}

const WATCH_MS = 500;
const REUSE_MS = 250;
/** Conduit's deadline for the same question. */
const PING_TIMEOUT_MS = 1_000;
