import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type ControlSchema,
  ControlType,
  type MessageSchema,
  type PublishRequest,
} from '#gen/tideway/stream/v1/message_pb.ts';
import { type SubscribeResponse, SubscribeResponseSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { EntryId } from '#lib/broker/entry-id.ts';
import type { ControlNotice, Delivery } from './delivery.ts';

const CONTROL_TYPES: Record<ControlNotice['type'], ControlType> = {
  gap: ControlType.GAP,
  expired: ControlType.EXPIRED,
  reset: ControlType.RESET,
  producer_lost: ControlType.PRODUCER_LOST,
  server_draining: ControlType.SERVER_DRAINING,
  token_ending: ControlType.TOKEN_ENDING,
  token_ended: ControlType.TOKEN_ENDED,
  token_revoked: ControlType.TOKEN_REVOKED,
};

/** What StreamService.Subscribe answers for an entry of the log. */
export function entryResponse({ entry, message }: Delivery): SubscribeResponse {
  if (entry.kind === 'producer_lost') return control(entry.id, { type: ControlType.PRODUCER_LOST });
  // Not ours: only the cursor moves.
  if (message === undefined) return control(entry.id, { type: ControlType.HEARTBEAT });
  return create(SubscribeResponseSchema, { id: entry.id, event: { case: 'message', value: messageFor(message) } });
}

/** What listeners get of what was published. */
export function messageFor(published: PublishRequest): MessageInitShape<typeof MessageSchema> {
  const { messageId, channelId, phase, sequence, payload } = published;
  return {
    messageId: messageId.toLowerCase(),
    channelId: channelId.toLowerCase(),
    phase,
    sequence,
    ...(payload === undefined ? {} : { payload }),
  };
}

/** What it tells a listener that stands at `cursor`. */
export function controlResponse(notice: ControlNotice, cursor: EntryId | undefined): SubscribeResponse {
  return control(cursor ?? '', controlFor(notice));
}

export function controlFor(notice: ControlNotice): MessageInitShape<typeof ControlSchema> {
  return { type: CONTROL_TYPES[notice.type], firstId: notice.type === 'gap' ? notice.firstId : '' };
}

export const HEARTBEAT: SubscribeResponse = control('', { type: ControlType.HEARTBEAT });

function control(id: string, value: MessageInitShape<typeof ControlSchema>): SubscribeResponse {
  return create(SubscribeResponseSchema, { id, event: { case: 'control', value } });
}
