import { create } from '@bufbuild/protobuf';
import {
  type WatchCancelRequest,
  WatchCancelRequestSchema,
  type WatchCancelResponse,
  WatchCancelResponseSchema,
} from '#gen/tideway/stream/v1/publish_service_pb.ts';
import type { PublishClaims } from '#lib/auth/publish-token.ts';
import { channelKey } from '#lib/broker/broker.ts';
import type { Gate } from '#lib/server/gate.ts';
import { Refusal } from '#lib/server/refusal.ts';
import type { CancelWatches } from './cancel-watches.ts';

/** How often a watcher hears something. The edge's idle timeout for such streams is three times this. */
export const SIGN_OF_LIFE_MS = 15_000;
/** Of a process, those of PublishStream calls among them; more are refused. */
export const MAX_WATCHES = 10_000;

export interface WatchCancelContext {
  readonly gate: Gate;
  readonly watches: CancelWatches;
  readonly claims: PublishClaims;
  /** Aborted when this server drains, and when the caller goes. */
  readonly signal: AbortSignal;
  readonly signOfLifeMs?: number;
}

/**
 * PublishService.WatchCancel.
 * @throws Refusal
 */
export async function* watchCancel(
  request: WatchCancelRequest,
  { gate, watches, claims, signal, signOfLifeMs = SIGN_OF_LIFE_MS }: WatchCancelContext,
): AsyncGenerator<WatchCancelResponse> {
  gate.validate(WatchCancelRequestSchema, request);
  for (const channelId of request.channelIds) gate.requireClaims(claims, request.orgId, channelId);
  if (signal.aborted) throw new Refusal('draining');
  if (watches.open >= MAX_WATCHES) throw new Refusal('too_many_watchers', { text: 'Too many producers watch here' });
  let wake = () => {};
  const onAbort = () => wake();
  const watch = watches.watch(() => wake());
  signal.addEventListener('abort', onAbort);
  try {
    for (const channelId of request.channelIds) watch.add(channelKey(request.orgId, channelId));
    // Some protocols don't even show their headers before.
    yield create(WatchCancelResponseSchema);
    for (;;) {
      const told = watch.take();
      for (const cancelled of told) yield create(WatchCancelResponseSchema, { cancelled });
      // More may have come while that was read.
      if (told.length > 0) continue;
      if (signal.aborted) throw new Refusal('draining');
      if (watch.size === 0) return;
      let isLate = false;
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        wake = resolve;
        timer = setTimeout(() => {
          isLate = true;
          resolve();
        }, signOfLifeMs);
      });
      clearTimeout(timer);
      if (claims.expiresAtMs <= Date.now()) throw new Refusal('token_expired');
      if (isLate) yield create(WatchCancelResponseSchema);
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    watch.close();
  }
}
