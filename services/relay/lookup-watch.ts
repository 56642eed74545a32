import type { Client } from '@connectrpc/connect';
import { Code, ConnectError } from '@connectrpc/connect';
import { ErrorInfoSchema } from '#gen/google/rpc/error_details_pb.ts';
import type { ConfigService } from '#gen/tideway/config/v1/config_service_pb.ts';

export interface LookupWatchOptions {
  readonly client: Client<typeof ConfigService>;
  readonly headers: { readonly Authorization: string };
  readonly onChange: (publicKeys: readonly string[]) => void;
  readonly onReset: () => void;
  /** Hears why the watch broke: once, until it works again. */
  readonly onError: (error: unknown) => void;
  /** What is heard without a word before the connection counts as dead. */
  readonly silenceMs?: number;
}

/** Three of the service's signs of life. */
const SILENCE_MS = 45_000;
const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 5_000;

/** Follows the config service's watch for ever, from where it was: nothing that changes meanwhile is missed. */
export class LookupWatch {
  readonly #options: LookupWatchOptions;
  readonly #stopped = new AbortController();
  #cursor = '';
  #failures = 0;

  constructor(options: LookupWatchOptions) {
    this.#options = options;
    void this.#follow();
  }

  /** Up to where `onChange` has been called. Empty: it has not begun. */
  get cursor(): string {
    return this.#cursor;
  }

  stop(): void {
    this.#stopped.abort();
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      try {
        await this.#watch();
      } catch (error) {
        if (signal.aborted) return;
        const problem = ConnectError.from(error);
        if (this.#failures === 0 && !isDraining(problem)) this.#options.onError(error);
        // It is none that this service knows. The next watch begins with a reset.
        if (problem.code === Code.InvalidArgument) this.#cursor = '';
        this.#failures += 1;
      }
      // A service that drains ends it; beside others it must not be asked again by all at once.
      const mostMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures);
      await pause(mostMs * (0.5 + Math.random() / 2), signal);
    }
  }

  async #watch(): Promise<void> {
    const { client, headers, onChange, onReset, silenceMs = SILENCE_MS } = this.#options;
    const since = this.#cursor;
    const call = new AbortController();
    const stop = () => call.abort();
    const silence = setTimeout(() => call.abort(new Error('the watch went silent')), silenceMs);
    silence.unref();
    this.#stopped.signal.addEventListener('abort', stop);
    try {
      // Without a cursor it begins now; what was looked up before may have changed in between.
      let isReset = since === '';
      for await (const response of client.watchProjectConfigs({ since }, { headers, signal: call.signal })) {
        silence.refresh();
        this.#failures = 0;
        this.#cursor = response.cursor;
        if (isReset || response.reset) onReset();
        isReset = false;
        onChange(response.publicKeys);
      }
    } finally {
      clearTimeout(silence);
      this.#stopped.signal.removeEventListener('abort', stop);
    }
  }
}

/** It goes as it should, this one's own process among others: nothing that anybody has to look at. */
function isDraining(problem: ConnectError): boolean {
  return problem.findDetails(ErrorInfoSchema).some(({ reason }) => reason === 'DRAINING');
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    timer.unref();
    signal.addEventListener('abort', end);
  });
}
