import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { createRegistry } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { file_google_rpc_error_details } from '#gen/google/rpc/error_details_pb.ts';
import { EventService } from '#gen/tideway/events/v1/event_service_pb.ts';
import type { Principal } from '#lib/auth/principal.ts';
import { admit } from '#lib/server/rpc.ts';
import type { ServiceParts } from '#lib/server/run-service.ts';
import type { EventReading } from './caller.ts';
import { listOutcomes } from './list-outcomes.ts';
import { getEvent, listEvents, readAttachment } from './read-events.ts';

/** The events service: EventService by RPC. Its JSON forms are Envoy's doing. */
export function eventsService(reading: EventReading): ServiceParts {
  const { method } = EventService;
  const callers = admit((headers) => reading.gate.authenticateCaller(headers));
  /** No call reaches a use case but through the gate. */
  const guarded =
    <I extends DescMessage, R>(
      input: I,
      act: (reading: EventReading, request: MessageShape<I>, principal: Principal) => R,
    ) =>
    (request: MessageShape<I>, context: HandlerContext): R => {
      reading.gate.validate(input, request);
      return act(reading, request, callers.claimsOf(context));
    };
  return {
    services: [EventService],
    http: [],
    rpc(router, onError) {
      router.service(
        EventService,
        {
          getEvent: guarded(method.getEvent.input, getEvent),
          listEvents: guarded(method.listEvents.input, listEvents),
          readAttachment: guarded(method.readAttachment.input, readAttachment),
          listOutcomes: guarded(method.listOutcomes.input, listOutcomes),
        },
        {
          jsonOptions: { ignoreUnknownFields: false, registry: createRegistry(file_google_rpc_error_details) },
          requestGate: callers.requestGate(onError),
        },
      );
    },
  };
}
