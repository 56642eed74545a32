import { Cluster, Command } from 'ioredis';
import { type ChannelKey, MAX_STEP_MESSAGES, type NewMessage, type PublishResult } from './broker.ts';
import type { EntryId } from './entry-id.ts';
import type { RedisClient, Settle } from './redis-client.ts';
import { unavailable } from './redis-commands.ts';
import { channelKeys } from './redis-keys.ts';
import { addMessages, KEYS_OF_A_CHANNEL, type PublishSettings, publishKeys } from './redis-publish-arguments.ts';
import { CalledScript, EncodedArguments, encodeWord } from './redis-script-call.ts';
import { PUBLISH_SCRIPT } from './redis-scripts.ts';

/** A step on one channel. */
export interface PublishStep {
  readonly channel: ChannelKey;
  readonly messages: readonly NewMessage[];
  readonly settings: PublishSettings;
  /** By performance.now(). */
  readonly deadlineMs: number;
  readonly settle: Settle<PublishResult[]>;
}

export const publishScript = new CalledScript(PUBLISH_SCRIPT);

// A server answers nobody else while a script runs: the steps of a call have no more messages than one may have.
const MAX_STEPS = 16;
const MAX_BYTES = 64 * 1024;

/**
 * Sends publishes. To one server, those that come until it has answered the ones before go as one call of the script: a call
 * costs this process and Redis more than a channel in it does. In a Cluster, where channels share no slot, each is a call.
 */
export class RedisPublishes {
  #waiting: PublishCall[] = [];
  #unanswered = 0;
  #isDue = false;
  #maxSteps = MAX_STEPS;
  /** Until the server has taken a call across slots, none goes behind such a call: refused, it has to go again before those. */
  #isTried = false;

  send(client: RedisClient, step: PublishStep): void {
    if (client instanceof Cluster) {
      const call = new PublishCall(step);
      call.send(client, true, (error, reply) => call.settle(error, reply));
      return;
    }
    if (!this.#waiting.at(-1)?.takes(step, this.#maxSteps)) this.#waiting.push(new PublishCall(step));
    this.#sendNext(client);
  }

  /** At the end of this turn, or when what is on its way is answered. */
  #sendNext(client: RedisClient): void {
    if (this.#unanswered > 0 || this.#waiting.length === 0 || this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      const trial = this.#isTried ? -1 : this.#waiting.findIndex((call) => call.isAcrossSlots());
      const calls = this.#waiting.splice(0, trial < 0 ? this.#waiting.length : trial + 1);
      for (const call of calls) this.#send(client, call);
    });
  }

  #send(client: RedisClient, call: PublishCall): void {
    this.#unanswered += 1;
    const onReply: Settle<string> = (error, reply) => {
      this.#unanswered -= 1;
      if (call.steps.length > 1 && isRefusedAcrossSlots(error)) {
        this.#sendEachByItself(client, call);
        return;
      }
      if (!this.#isTried) this.#isTried = error === undefined && call.isAcrossSlots();
      this.#sendNext(client);
      call.settle(error, reply);
    };
    try {
      call.send(client, false, onReply);
    } catch (error) {
      // One of its steps can't be sent.
      this.#unanswered -= 1;
      if (call.steps.length === 1) call.settle(error, undefined);
      else for (const step of call.steps) this.#send(client, new PublishCall(step));
      this.#sendNext(client);
    }
  }

  /** To a node of a Cluster that did not let us see that it is one, or to what stands for one. Nothing of `call` was done. */
  #sendEachByItself(client: RedisClient, call: PublishCall): void {
    this.#maxSteps = 1;
    this.#isTried = true;
    const steps = [call, ...this.#waiting].flatMap((each) => each.steps);
    this.#waiting = [];
    for (const step of steps) this.#send(client, new PublishCall(step));
  }
}

/** A call of the publish script, for one step or more with the same settings. */
class PublishCall {
  readonly steps: PublishStep[];
  readonly #settings: PublishSettings;
  #count = 0;
  #keys = '';
  readonly #messages = new EncodedArguments();

  constructor(first: PublishStep) {
    this.steps = [first];
    this.#settings = first.settings;
    this.#add(first);
  }

  /** Adds `step`, if it may go with the others. */
  takes(step: PublishStep, maxSteps: number): boolean {
    if (this.steps.length >= maxSteps || step.settings.text !== this.#settings.text) return false;
    if (this.#count + step.messages.length > MAX_STEP_MESSAGES) return false;
    let bytes = this.#messages.byteLength;
    for (const { data } of step.messages) bytes += data.length;
    if (bytes > MAX_BYTES) return false;
    this.steps.push(step);
    this.#add(step);
    return true;
  }

  isAcrossSlots(): boolean {
    const slots = this.steps.map(({ channel }) => new Command('get', [channelKeys(channel).log]).getSlot());
    return slots.some((slot) => slot !== slots[0]);
  }

  #add({ channel, messages }: PublishStep): void {
    for (const key of publishKeys(channel)) this.#keys += encodeWord(key);
    this.#count += messages.length;
    addMessages(this.#messages, messages);
  }

  send(client: RedisClient, inTurns: boolean, settle: Settle<string>): void {
    const [first] = this.steps as [PublishStep];
    const keys = KEYS_OF_A_CHANNEL * this.steps.length;
    const { text, words } = this.#settings;
    this.#messages.putFirst(encodeWord(String(keys)) + this.#keys + text, 1 + keys + words.length);
    const { log } = channelKeys(first.channel);
    // Of several steps the last one's: none is done so much later than it may be as others waited.
    const deadlineMs = Math.max(...this.steps.map((step) => step.deadlineMs));
    publishScript.send(client, { key: log, args: this.#messages, inTurns, deadlineMs }, settle);
  }

  settle(error: unknown, reply: string | undefined): void {
    const words = reply?.split('\n');
    let at = 0;
    for (const { messages, settle } of this.steps) {
      if (words === undefined) settle(error);
      else settleStep(settle, words, at, messages.length);
      at += 2 * messages.length;
    }
  }
}

function settleStep(settle: Settle<PublishResult[]>, words: readonly string[], at: number, count: number): void {
  try {
    settle(undefined, publishResults(words, at, count));
  } catch (error) {
    settle(error);
  }
}

/**
 * Reads the publish script's answer to `count` messages.
 * @throws BrokerUnavailableError if it could not do its work
 */
export function publishResults(words: readonly string[], at: number, count: number): PublishResult[] {
  const results: PublishResult[] = [];
  for (let n = 0; n < count; n++) results.push(publishResult(words[at + 2 * n], words[at + 2 * n + 1] ?? ''));
  return results;
}

function publishResult(word: string | undefined, value: string): PublishResult {
  switch (word) {
    case 'stored':
    case 'duplicate':
      return { kind: word, id: value as EntryId };
    case 'sealed':
      return { kind: 'sealed', by: value as EntryId };
    case 'rate_limited':
      return { kind: 'rate_limited', retryAfterMs: Number(value) };
    case 'failed':
      throw unavailable(new Error(value));
    default:
      throw unavailable(new Error('an answer of the publish script that is not ours'));
  }
}

function isRefusedAcrossSlots(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('CROSSSLOT');
}
