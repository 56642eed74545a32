import type { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import type { NewMessage } from './broker.ts';

/** What deduplication compares. */
export type Identity = Pick<NewMessage, 'messageId' | 'phase' | 'sequence'>;

/** The same as text: `<messageId>/<phase>/<sequence>`. */
export function messageKey(message: Identity): string {
  return `${message.messageId}/${message.phase}/${message.sequence}`;
}

/** What {@link messageKey} was made of. */
export function parseMessageKey(key: string): Identity {
  const [messageId = '', phase = '', sequence = ''] = key.split('/');
  return { messageId, phase: Number(phase) as Phase, sequence: BigInt(sequence) };
}
