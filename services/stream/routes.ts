import { StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { StreamTokenSigner } from '#lib/auth/stream-token-signer.ts';
import type { Broker } from '#lib/broker/broker.ts';
import { Follower } from '#lib/broker/follow.ts';
import { bearer, type Gate } from '#lib/server/gate.ts';
import { admit } from '#lib/server/rpc.ts';
import type { ServiceParts } from '#lib/server/run-service.ts';
import type { Logger } from '#lib/telemetry/logger.ts';
import { cancelStream } from './cancel-stream.ts';
import { Delivery } from './delivery.ts';
import { eventsOnH2, eventsRoute } from './events.ts';
import { Listeners } from './listeners.ts';
import { subscribeManyResponses } from './many-channels.ts';
import { Presentations, renewToken } from './renew-token.ts';
import { REVOKED_FOR_MS, revokeTokens } from './revoke-tokens.ts';
import { startStream } from './start-stream.ts';
import { subscribeResponses } from './subscribe.ts';
import { subscribeCalls } from './subscribe-calls.ts';
import { together } from './together.ts';
import { TokenHolds } from './token-holds.ts';

export interface StreamServiceOptions {
  readonly gate: Gate;
  readonly broker: Broker;
  readonly signer: StreamTokenSigner | undefined;
  readonly publicUrl: string | undefined;
  /** 0: no limit. */
  readonly maxConnectionMs: number;
  readonly maxListeners: number;
  /** Ends streams with their tokens. */
  readonly cutExpired?: boolean;
  /** How long a revocation is remembered. */
  readonly revocationMs?: number;
  readonly logger: Logger;
}

/** The stream service: StreamService by RPC, and Conduit's events. */
export function streamService(options: StreamServiceOptions): ServiceParts {
  const { gate, broker, logger, cutExpired = false, revocationMs = REVOKED_FOR_MS } = options;
  const onError = (error: unknown) => logger.error({ err: error }, 'unexpected error');
  const follower = new Follower({
    broker,
    share: (entry) => new Delivery(entry),
    together,
    onError: (error) => logger.error({ err: error }, 'a listener was ended by an unexpected error'),
  });
  const listeners = new Listeners({ ...options, follower });
  const holds = new TokenHolds({ decisions: broker.decisions, cutExpired, onError });
  const presentations = new Presentations(broker.decisions);
  const listening = { gate, listeners, holds, onError };
  const calls = subscribeCalls(listening);
  const authorized = admit((headers) => gate.authenticateListener(bearer(headers.get('authorization') ?? undefined)));
  const starters = admit(async (headers) => ({ starter: await gate.authenticateStarter(headers) }));
  return {
    services: [StreamService],
    http: [eventsRoute(listening)],
    rawRpcs: calls.rawRpcs,
    h2Routes: [eventsOnH2(listening), ...calls.h2Routes],
    rpc(router) {
      router.rpc(
        StreamService.method.subscribe,
        (request, context) =>
          subscribeResponses(request, authorized.claimsOf(context), context.signal, gate, listeners, holds),
        { requestGate: authorized.requestGate(onError) },
      );
      router.rpc(
        StreamService.method.subscribeMany,
        (request, context) =>
          subscribeManyResponses(request, authorized.claimsOf(context), context.signal, gate, listeners, holds),
        { requestGate: authorized.requestGate(onError) },
      );
      router.rpc(
        StreamService.method.cancelStream,
        (request, context) => cancelStream(request, authorized.claimsOf(context), { gate, broker, holds }),
        { requestGate: authorized.requestGate(onError) },
      );
      router.rpc(
        StreamService.method.renewToken,
        (request, context) => renewToken(request, authorized.claimsOf(context), { gate, presentations, holds }),
        { requestGate: authorized.requestGate(onError) },
      );
      router.rpc(
        StreamService.method.revokeTokens,
        (request, call) => revokeTokens(request, starters.claimsOf(call).starter, { gate, broker, revocationMs }),
        { requestGate: starters.requestGate(onError) },
      );
      router.rpc(
        StreamService.method.startStream,
        (request, call) => startStream(request, starters.claimsOf(call).starter, call, options),
        {
          requestGate: starters.requestGate(onError),
        },
      );
    },
    drain: (spreadMs) => listeners.drain(spreadMs),
    close() {
      listeners.close();
      holds.close();
    },
  };
}
