import { toBinary } from '@bufbuild/protobuf';
import { PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { PublishService } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import type { Broker } from '#lib/broker/broker.ts';
import type { Gate } from '#lib/server/gate.ts';
import { admit } from '#lib/server/rpc.ts';
import type { ServiceParts } from '#lib/server/run-service.ts';
import type { Logger } from '#lib/telemetry/logger.ts';
import { CancelWatches } from './cancel-watches.ts';
import { httpPublishRoute } from './http-publish.ts';
import { MAX_BATCH_BYTES, publishBatch } from './publish-batch.ts';
import { publishBatchCalls } from './publish-batch-calls.ts';
import { checkMessage, publishMessage } from './publish-message.ts';
import { publishStream } from './publish-stream.ts';
import { publishStreamCalls } from './publish-stream-calls.ts';
import { watchCancel } from './watch-cancel.ts';

export interface PublishServiceOptions {
  readonly gate: Gate;
  readonly broker: Broker;
  readonly logger: Logger;
  /** Publishes a second and channel by unary RPC and HTTP together. 0: no limit. */
  readonly ratePerSec: number;
  /** The same for PublishStream. */
  readonly streamRatePerSec: number;
}

/** The publish service: PublishService by RPC, and Conduit's HTTP form. */
export function publishService(options: PublishServiceOptions): ServiceParts {
  const { gate, broker, logger, ratePerSec, streamRatePerSec } = options;
  const onError = (error: unknown) => logger.error({ err: error }, 'unexpected error');
  const unaryRate = { name: 'unary', perSec: ratePerSec } as const;
  const streamRate = { name: 'stream', perSec: streamRatePerSec, counts: 'messages' } as const;
  const draining = new AbortController();
  const watches = new CancelWatches(broker.decisions, onError);
  const publishers = admit((headers) => gate.authenticatePublisher(headers.get('authorization') ?? undefined));
  return {
    services: [PublishService],
    http: [httpPublishRoute(gate, broker, unaryRate)],
    rawRpcs: [
      publishStreamCalls({ gate, broker, rate: streamRate, watches, draining: draining.signal, onError }),
      publishBatchCalls({ gate, broker, rate: unaryRate, onError }),
    ],
    rpc(router) {
      const requestGate = publishers.requestGate(onError);
      router.service(
        PublishService,
        {
          async publish(message, context) {
            gate.validate(PublishRequestSchema, message);
            gate.requireClaims(publishers.claimsOf(context), message.orgId, message.channelId);
            return publishMessage(broker, checkMessage(message), toBinary(PublishRequestSchema, message), unaryRate);
          },
          publishStream: (requests, context) =>
            publishStream(
              requests,
              { gate, broker, claims: publishers.claimsOf(context), rate: streamRate, watches },
              AbortSignal.any([context.signal, draining.signal]),
            ),
        },
        { requestGate },
      );
      router.rpc(
        PublishService.method.watchCancel,
        (request, context) =>
          watchCancel(request, {
            gate,
            watches,
            claims: publishers.claimsOf(context),
            signal: AbortSignal.any([context.signal, draining.signal]),
          }),
        { requestGate },
      );
      // Apart from the others for its size; of two handlers for one path the later one counts.
      router.rpc(
        PublishService.method.publishBatch,
        (batch, context) =>
          publishBatch(batch, { gate, broker, claims: publishers.claimsOf(context), rate: unaryRate }),
        { requestGate, readMaxBytes: MAX_BATCH_BYTES },
      );
    },
    async drain() {
      draining.abort();
    },
    close: () => watches.close(),
  };
}
