import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, Code, ConnectError } from '@connectrpc/connect';
import { ControlType, Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import type { StreamService, SubscribeRequest, SubscribeResponse } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { Backoff } from './backoff.ts';
import { bearer } from './edge.ts';
import { isUnreachable } from './failure.ts';
import { type OutageListener, waitOrThrow } from './retry.ts';

export type FollowEvent =
  | { readonly kind: 'event'; readonly event: SubscribeResponse }
  /** The last thing yielded. */
  | { readonly kind: 'over'; readonly how: 'end' | 'ended_before' | 'producer_lost' | 'expired' };

export interface FollowOptions {
  /** A stream token; `renew` when the last one was refused and there may be a better one. */
  readonly token: (renew: boolean) => Promise<string>;
  /** True if `token` can renew: otherwise a refusal is final. */
  readonly renewable: boolean;
  /** Bounds the time without an event. */
  readonly backoff: Backoff;
  readonly listener: OutageListener;
  readonly signal: AbortSignal;
}

/**
 * Yields the events of a channel until its stream is over, across cuts: after each it subscribes again by the id of
 * the last event, so that nothing is missed and nothing comes twice. Heartbeats are not yielded; their absence is a cut.
 * @throws ConnectError what refuses the subscription for good, or the last failure when the backoff's budget is spent.
 * What `signal` aborts with.
 */
export async function* followChannel(
  client: Pick<Client<typeof StreamService>, 'subscribe'>,
  request: Pick<SubscribeRequest, 'orgId' | 'channelId' | 'lastEventId'>,
  { token, renewable, backoff, listener, signal }: FollowOptions,
): AsyncGenerator<FollowEvent> {
  let cursor = request.lastEventId;
  let expired = false;
  let emptyResponses = 0;
  let reached = false;
  let renew = false;

  for (;;) {
    const subscription = new Subscription(signal);
    let anything = false;
    let draining = false;
    let failure: ConnectError | undefined;
    try {
      const call = { ...bearer(await token(renew)), signal: subscription.signal };
      for await (const event of client.subscribe({ ...request, lastEventId: cursor }, call)) {
        subscription.heard();
        anything = true;
        reached = true;
        renew = false;
        if (backoff.failing) listener.onRecovery();
        backoff.succeeded();
        // An event without an id (a heartbeat before anything else) leaves the cursor where it is.
        if (event.id !== '') cursor = event.id;
        const control = event.event.case === 'control' ? event.event.value.type : undefined;
        if (control === ControlType.HEARTBEAT) continue;
        draining ||= control === ControlType.SERVER_DRAINING;
        expired = control === ControlType.EXPIRED;
        yield { kind: 'event', event };
        if (event.event.case === 'message' && event.event.value.phase === Phase.END) {
          return yield { kind: 'over', how: 'end' };
        }
        if (control === ControlType.PRODUCER_LOST) return yield { kind: 'over', how: 'producer_lost' };
      }
    } catch (thrown) {
      signal.throwIfAborted();
      failure = subscription.silent ?? ConnectError.from(thrown);
    } finally {
      subscription.end();
    }

    if (failure) {
      if (failure.code === Code.Unauthenticated && renewable && !renew) {
        renew = true;
        continue;
      }
      if (isUnreachable(failure) && !reached) throw failure;
      await waitOrThrow(failure, backoff, listener, signal);
    } else if (anything) {
      emptyResponses = 0;
      if (expired && !draining) return yield { kind: 'over', how: 'expired' };
      await sleep(Math.random() * RESUME_WITHIN_MS, undefined, { signal });
    } else {
      // A response with nothing in it is how the end of a stream before the cursor looks. A server that closes without
      // a word looks the same, once.
      if (++emptyResponses > 1) return yield { kind: 'over', how: 'ended_before' };
      await sleep(RESUME_WITHIN_MS, undefined, { signal });
    }
  }
}

/** Spreads the return of the listeners of a server that drains. */
const RESUME_WITHIN_MS = 500;

/** Servers send something every 15 s. */
const SILENCE_MS = 45_000;

/** One Subscribe call, ended by its caller or by silence. */
class Subscription {
  readonly #abort = new AbortController();
  readonly #watch: NodeJS.Timeout;
  readonly signal: AbortSignal;
  silent: ConnectError | undefined;

  constructor(signal: AbortSignal) {
    this.signal = AbortSignal.any([signal, this.#abort.signal]);
    this.#watch = setTimeout(() => {
      this.silent = new ConnectError('the server has gone silent', Code.Unavailable);
      this.#abort.abort();
    }, SILENCE_MS);
  }

  heard(): void {
    this.#watch.refresh();
  }

  end(): void {
    clearTimeout(this.#watch);
    this.#abort.abort();
  }
}
