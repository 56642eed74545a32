import type { ChannelKey, NewMessage, PublishRate } from './broker.ts';
import { messageKey } from './message-key.ts';
import type { ScriptArguments } from './redis-client.ts';
import { messageKind } from './redis-entry.ts';
import { channelKeys } from './redis-keys.ts';
import { encodeWord } from './redis-script-call.ts';

// What the publish script is called with: the keys of each channel, the settings, and of each channel how many messages, and
// these. As one buffer (redis-publish-calls.ts), or as the list that the client takes (redis-replicated.ts).

export const KEYS_OF_A_CHANNEL = 4;

/** What a publish is told beside its messages. */
export interface PublishSettings {
  readonly words: readonly string[];
  /** All of them, encoded. */
  readonly text: string;
}

/** @param limits As the scripts take them (redis-scripts.ts). */
export function publishSettings(rate: PublishRate, limits: readonly number[]): PublishSettings {
  const words = [rate.name, rate.perSec, rate.counts ?? 'calls', ...limits].map(String);
  return { words, text: words.map(encodeWord).join('') };
}

export function publishKeys(channel: ChannelKey): readonly string[] {
  const { log, index, seal, live } = channelKeys(channel);
  return [log, index, seal, live];
}

export interface ArgumentTarget {
  addWord(word: string): void;
  addBytes(bytes: Uint8Array): void;
}

/** Adds what follows keys and settings, for one channel. */
export function addMessages(target: ArgumentTarget, messages: readonly NewMessage[]): void {
  target.addWord(String(messages.length));
  for (const message of messages) {
    target.addWord(messageKey(message));
    target.addBytes(message.data);
    target.addWord(messageKind(message));
  }
}

/** All of them for one channel, keys first. */
export function listArguments(
  channel: ChannelKey,
  messages: readonly NewMessage[],
  { words }: PublishSettings,
): ScriptArguments {
  const list: ScriptArguments = [...publishKeys(channel), ...words];
  const target: ArgumentTarget = {
    addWord: (word) => void list.push(word),
    addBytes: ({ buffer, byteOffset, byteLength }) => void list.push(Buffer.from(buffer, byteOffset, byteLength)),
  };
  addMessages(target, messages);
  return list;
}
