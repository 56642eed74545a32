import { create, toBinary } from '@bufbuild/protobuf';
import { PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import type { ChannelKey } from './broker.ts';
import { parseMessageKey } from './message-key.ts';

/** Text deltas of one name that follow each other, joined. */
export interface JoinedText {
  readonly channel: ChannelKey;
  /** The {@link messageKey} of the last of them. */
  readonly lastKey: string;
  /** What their payloads call the text. */
  readonly name: string;
  /** UTF-8. */
  readonly text: Buffer;
}

/** The PublishRequest that stands for them: the last of them, with the text of all. */
export function encodeJoinedText({ channel, lastKey, name, text }: JoinedText): Uint8Array {
  const colon = channel.indexOf(':');
  const message = create(PublishRequestSchema, {
    channelId: channel.slice(colon + 1),
    orgId: BigInt(channel.slice(0, colon)),
    ...parseMessageKey(lastKey),
    // Computed, so that `__proto__` is a name as any other.
    payload: { [name]: text.toString() },
  });
  return toBinary(PublishRequestSchema, message);
}
