import { type JsonObject, toJson } from '@bufbuild/protobuf';
import { type Control, ControlType, Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type SubscribeResponse, SubscribeResponseSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';

/** What a listener prints for an event: `text` for whoever reads the stream, `notice` for whoever watches it. */
export interface Rendered {
  readonly text: string;
  readonly notice: string;
}

export function render(event: SubscribeResponse, asJson: boolean): Rendered {
  const notice = event.event.case === 'control' ? noticeOf(event.event.value) : '';
  if (asJson) {
    return { text: `${JSON.stringify(toJson(SubscribeResponseSchema, event, { useProtoFieldName: true }))}\n`, notice };
  }
  if (event.event.case !== 'message') return { text: '', notice };
  const { phase, payload } = event.event.value;
  const text = textOf(payload);
  return phase === Phase.ERROR ? { text: '', notice: `error: ${text.trimEnd()}` } : { text, notice };
}

// {"text"} alone is the payload that `publish` makes; the texts of a stream are meant to be joined.
function textOf(payload: JsonObject | undefined): string {
  if (payload === undefined) return '';
  const text = payload['text'];
  return typeof text === 'string' && Object.keys(payload).length === 1 ? text : `${JSON.stringify(payload)}\n`;
}

function noticeOf({ type, firstId }: Control): string {
  switch (type) {
    case ControlType.GAP:
      return `Some messages are no longer retained and were missed. The next one is ${firstId}.`;
    case ControlType.EXPIRED:
      return 'Nothing of what came after this id is retained any more.';
    case ControlType.RESET:
      return 'The log on the server was rolled back: messages may be missing here.';
    case ControlType.PRODUCER_LOST:
      return 'The producer was lost: the stream is over without an END.';
    default:
      return '';
  }
}
