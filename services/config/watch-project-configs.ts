import { create } from '@bufbuild/protobuf';
import {
  type WatchProjectConfigsRequest,
  type WatchProjectConfigsResponse,
  WatchProjectConfigsResponseSchema,
} from '#gen/tideway/config/v1/config_service_pb.ts';
import type { ConfigCache } from '#lib/config-cache/config-cache.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { StoreUnavailableError } from '#lib/sql/database-errors.ts';

/** A relay that hears nothing for three of them knows that the connection is dead. */
export const HEARTBEAT_MS = 15_000;
export const MAX_WATCHERS = 1_000;

/** Those who watch in this process. */
export class Watchers {
  readonly #cache: ConfigCache;
  readonly #draining = new AbortController();
  #count = 0;

  constructor(cache: ConfigCache) {
    this.#cache = cache;
  }

  /** @throws Refusal `too_many_watchers`, `store_away`, `draining` */
  async *watch(
    request: WatchProjectConfigsRequest,
    signal: AbortSignal,
  ): AsyncGenerator<WatchProjectConfigsResponse, void, undefined> {
    if (this.#draining.signal.aborted) throw new Refusal('draining');
    if (this.#count >= MAX_WATCHERS) throw new Refusal('too_many_watchers');
    this.#count += 1;
    const watch = this.#cache.watch(request.since, AbortSignal.any([signal, this.#draining.signal]));
    try {
      for (;;) {
        const change = await watch.next(HEARTBEAT_MS);
        if (change === undefined) break;
        const { cursor, publicKeys, reset } = change;
        yield create(WatchProjectConfigsResponseSchema, { cursor, publicKeys: [...publicKeys], reset });
      }
      if (this.#draining.signal.aborted) throw new Refusal('draining');
    } catch (error) {
      if (error instanceof StoreUnavailableError) throw new Refusal('store_away', { cause: error });
      throw error;
    } finally {
      watch.close();
      this.#count -= 1;
    }
  }

  drain(): void {
    this.#draining.abort();
  }
}
