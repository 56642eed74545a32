import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type ControlSchema, ControlType } from '#gen/tideway/stream/v1/message_pb.ts';
import { type SubscribeResponse, SubscribeResponseSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { EntryId } from '#lib/broker/entry-id.ts';
import type { ControlNotice, Delivery, Wire } from './delivery.ts';

/** A response of Subscribe, with about what it weighs while it waits. */
export interface RpcChunk {
  readonly response: SubscribeResponse;
  readonly sizeBytes: number;
}

/** An event's id, its tags and its object. */
const EVENT_OVERHEAD_BYTES = 128;

const CONTROL_TYPES: Record<ControlNotice['type'], ControlType> = {
  gap: ControlType.GAP,
  expired: ControlType.EXPIRED,
  reset: ControlType.RESET,
  producer_lost: ControlType.PRODUCER_LOST,
  server_draining: ControlType.SERVER_DRAINING,
};

/** StreamService.Subscribe's events, for every protocol that connect-node speaks. */
export const rpcWire: Wire<RpcChunk> = {
  slot: 1,
  opening: undefined,
  heartbeat: controlChunk('', { type: ControlType.HEARTBEAT }),

  entry(delivery: Delivery): RpcChunk {
    const { entry, message } = delivery;
    if (entry.kind === 'producer_lost') return controlChunk(entry.id, { type: ControlType.PRODUCER_LOST });
    // Not ours: only the cursor moves.
    if (message === undefined) return controlChunk(entry.id, { type: ControlType.HEARTBEAT });
    const { messageId, channelId, phase, sequence, payload } = message;
    const response = create(SubscribeResponseSchema, {
      id: entry.id,
      event: {
        case: 'message',
        value: {
          messageId: messageId.toLowerCase(),
          channelId: channelId.toLowerCase(),
          phase,
          sequence,
          ...(payload === undefined ? {} : { payload }),
        },
      },
    });
    return { response, sizeBytes: entry.data.byteLength + EVENT_OVERHEAD_BYTES };
  },

  control(notice: ControlNotice, cursor: EntryId | undefined): RpcChunk {
    const firstId = notice.type === 'gap' ? notice.firstId : '';
    return controlChunk(cursor ?? '', { type: CONTROL_TYPES[notice.type], firstId });
  },

  goodbye: () => undefined,
};

function controlChunk(id: string, control: MessageInitShape<typeof ControlSchema>): RpcChunk {
  const response = create(SubscribeResponseSchema, { id, event: { case: 'control', value: control } });
  return { response, sizeBytes: EVENT_OVERHEAD_BYTES };
}
