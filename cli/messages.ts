import { create, type JsonObject, toBinary } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { Phase, type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { splitLines } from './lines.ts';

/** Input that can't be made a message. Its text is for a person. */
export class InputError extends Error {
  override readonly name = 'InputError';
}

/** What a publisher may send: the server's limit on an encoded PublishRequest. */
export const MAX_MESSAGE_BYTES = 16_384;

/** Text that fits into one message, whatever its ids: the rest of a message takes less than 1 KiB. */
export const MAX_TEXT_BYTES = 15 * 1024;

export interface MessageFields {
  readonly orgId: bigint;
  readonly channelId: string;
  readonly phase: Phase;
  readonly sequence: bigint;
  readonly messageId?: string | undefined;
  readonly payload?: JsonObject | undefined;
  readonly coalesceWindowMs?: number | undefined;
}

/** @throws InputError if the message is larger than a server takes. */
export function messageOf({
  messageId = crypto.randomUUID(),
  payload,
  coalesceWindowMs,
  ...fields
}: MessageFields): PublishRequest {
  const message = create(PublishRequestSchema, {
    ...fields,
    messageId,
    clientTimestamp: timestampNow(),
    ...(payload === undefined ? {} : { payload }),
    ...(coalesceWindowMs === undefined ? {} : { coalesceWindowMs }),
  });
  const bytes = toBinary(PublishRequestSchema, message).byteLength;
  if (bytes > MAX_MESSAGE_BYTES) {
    throw new InputError(`The message has ${bytes} bytes; at most ${MAX_MESSAGE_BYTES} can be published at once.`);
  }
  return message;
}

/** @throws InputError if `text` is anything but one JSON object. */
export function parsePayload(text: string, what: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InputError(`${what} is not JSON.`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InputError(`${what} must be a JSON object, such as {"text":"hello"}.`);
  }
  return value as JsonObject;
}

export interface LineOptions {
  readonly orgId: bigint;
  readonly channelId: string;
  readonly firstSequence: bigint;
  /** Each line is a JSON object, the payload. Otherwise the payload is `{"text": line}`, its line end included. */
  readonly json: boolean;
  readonly start: boolean;
  readonly end: boolean;
  /** Asked at the end: true publishes END whatever `end` says. */
  readonly mustEnd?: () => boolean;
  /** What START says of the text that follows. */
  readonly coalesceWindowMs?: number | undefined;
}

/**
 * The messages of a stream made of lines: START, a DELTA for each line as it arrives, END. The texts one after the
 * other are the input; a line too long for one message therefore takes several. A JSON line can't be divided: it is an
 * InputError, as is one that is no object, and the stream stops there without an END.
 */
export async function* messagesOfLines(
  chunks: AsyncIterable<Uint8Array>,
  { orgId, channelId, firstSequence, json, start, end, mustEnd, coalesceWindowMs }: LineOptions,
): AsyncGenerator<PublishRequest> {
  let sequence = firstSequence;
  const next = (phase: Phase, payload?: JsonObject) =>
    messageOf({ orgId, channelId, phase, sequence: sequence++, payload });

  if (start) {
    yield messageOf({ orgId, channelId, phase: Phase.START, sequence: sequence++, coalesceWindowMs });
  }
  for await (const { text, endsLine, line } of splitLines(chunks, MAX_TEXT_BYTES)) {
    if (!json) {
      yield next(Phase.DELTA, { text });
    } else if (!endsLine) {
      throw new InputError(`Line ${line} is longer than the ${MAX_TEXT_BYTES} bytes of JSON that a message can carry.`);
    } else if (text.trim() !== '') {
      yield next(Phase.DELTA, parsePayload(text, `Line ${line}`));
    }
  }
  if (end || mustEnd?.()) yield next(Phase.END);
}
