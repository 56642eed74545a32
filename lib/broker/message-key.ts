import type { NewMessage } from './broker.ts';

/** What deduplication compares: `<messageId>/<phase>/<sequence>`. */
export function messageKey(message: NewMessage): string {
  return `${message.messageId}/${message.phase}/${message.sequence}`;
}
