import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import {
  type Broker,
  BrokerUnavailableError,
  type ChannelKey,
  MAX_STEP_BYTES,
  MAX_STEP_MESSAGES,
  type NewMessage,
  type PublishRate,
  type PublishResult,
} from '#lib/broker/broker.ts';
import { messageKey } from '#lib/broker/message-key.ts';
import type { MessageHead } from '#lib/broker/scan-message.ts';
import { Refusal } from '#lib/server/refusal.ts';
import type { Cancelled, CancelWatch, CancelWatches } from './cancel-watches.ts';
import { HeldMessages } from './held-messages.ts';
import { channelOf, type Published, publishedOf, toStore } from './publish-message.ts';

/** What of one call may wait for answers; beyond it the call is not read. */
export const MAX_WAITING_MESSAGES = 256;
export const MAX_WAITING_BYTES = 256 * 1024;
/** Messages of one call that were refused and have not come again. */
export const MAX_HELD_MESSAGES = 4_000;
/** Channels of one call with nothing under way that are remembered, as most get another message soon. */
export const MAX_IDLE_LINES = 5_000;

export type PipelineAnswer = Published | Refusal;

export interface PipelineOptions {
  readonly broker: Broker;
  readonly rate: PublishRate;
  /** Tells what listeners cancel of the channels that are published to and not ended. */
  readonly watches?: CancelWatches;
  /** There may be something to {@link Pipeline.take}, or {@link Pipeline.takeCancelled}. */
  readonly onAnswers: () => void;
  /** The call can't go on. */
  readonly onFailure: (error: unknown) => void;
}

interface Slot {
  readonly message: NewMessage | undefined;
  answer: PipelineAnswer | undefined;
  /** Its turn has come: where the rate lets it wait after that, nothing goes before it. */
  hasPassed: boolean;
}

/** What waits for one channel. */
interface Line {
  readonly channel: ChannelKey;
  /** Not at the broker yet. */
  readonly waiting: Slot[];
  /** Is to be sent by the next flush. */
  isDue: boolean;
  isIdle: boolean;
  /** One group is at the broker, or waits for the rate: the next one goes when it is answered. */
  isBusy: boolean;
  /** Waits for the rate until then. */
  timer: NodeJS.Timeout | undefined;
}

/**
 * The messages of one PublishStream call between their arrival and their answers. Those of a channel that are there at the
 * same time go to the broker together, channels go beside each other, and the answers come out in the order of arrival.
 *
 * The order within a channel holds over refusals: after one that is worth sending again, later messages of the channel are
 * refused until it has come, and what was refused behind it ({@link HeldMessages}). Those that were at the broker with it may
 * be stored, as it may.
 */
export class Pipeline {
  readonly #options: PipelineOptions;
  /**
   * Idle ones go many at a time, with their map. V8 keeps in the table that a map has outgrown where its next one is: taken away
   * one by one, all that ever went through a long call's map would be found from its oldest table, and copied as if in use.
   */
  #lines = new Map<ChannelKey, Line>();
  #idle = 0;
  readonly #watch: CancelWatch | undefined;
  #due: Line[] = [];
  #slots: Slot[] = [];
  #waitingBytes = 0;
  /** What has to come again, before anything else of its channel. */
  readonly #held = new Map<ChannelKey, HeldMessages>();
  #isStopped = false;

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#watch = options.watches?.watch(options.onAnswers);
  }

  /** True: take no more for now. */
  get isFull(): boolean {
    return this.#slots.length >= MAX_WAITING_MESSAGES || this.#waitingBytes >= MAX_WAITING_BYTES;
  }

  get isEmpty(): boolean {
    return this.#slots.length === 0;
  }

  /**
   * Takes a message that has passed the gate and the limits; {@link flush} sends it.
   * @throws Refusal `too_large`
   */
  push(head: MessageHead, data: Uint8Array): void {
    const slot: Slot = { message: toStore(head, data), answer: undefined, hasPassed: false };
    this.#slots.push(slot);
    this.#waitingBytes += data.byteLength;
    if (this.#isStopped) {
      slot.answer = new Refusal('draining');
      return;
    }
    const channel = channelOf(head);
    let line = this.#lines.get(channel);
    if (line === undefined) {
      line = { channel, waiting: [], isDue: false, isIdle: false, isBusy: false, timer: undefined };
      this.#lines.set(channel, line);
    }
    if (line.isIdle) this.#idle -= 1;
    line.isIdle = false;
    line.waiting.push(slot);
    if (!line.isDue) this.#due.push(line);
    line.isDue = true;
  }

  /** Takes the place of a message that did not pass. */
  refuse(refusal: Refusal): void {
    this.#slots.push({ message: undefined, answer: refusal, hasPassed: false });
  }

  /** Sends what has been pushed. */
  flush(): void {
    const due = this.#due;
    this.#due = [];
    for (const line of due) {
      line.isDue = false;
      this.#send(line);
    }
    this.#options.onAnswers();
  }

  /** The answers that are there, in the order of their messages; each is answered once. */
  take(): PipelineAnswer[] {
    const answers: PipelineAnswer[] = [];
    for (const { message, answer } of this.#slots) {
      if (answer === undefined) break;
      answers.push(answer);
      this.#waitingBytes -= message?.data.byteLength ?? 0;
    }
    if (answers.length > 0) this.#slots = this.#slots.slice(answers.length);
    return answers;
  }

  /** What was cancelled since it was asked last. */
  takeCancelled(): Cancelled[] {
    return this.#watch?.take() ?? [];
  }

  /** Sends nothing more. What is at the broker is still answered, the rest is refused as the server drains. */
  stop(): void {
    this.#isStopped = true;
    this.#watch?.close();
    const refusal = new Refusal('draining');
    for (const line of this.#lines.values()) {
      if (line.timer !== undefined) this.#endWait(line);
      for (const slot of line.waiting.splice(0)) slot.answer = refusal;
    }
    this.#options.onAnswers();
  }

  #send(line: Line): void {
    if (line.isBusy) return;
    const group = this.#takeGroup(line);
    if (group.length > 0) void this.#publish(line, group);
    else if (!line.isIdle) this.#setIdle(line);
  }

  #setIdle(line: Line): void {
    line.isIdle = true;
    this.#idle += 1;
    if (this.#idle <= MAX_IDLE_LINES) return;
    const lines = new Map<ChannelKey, Line>();
    for (const [channel, each] of this.#lines) if (!each.isIdle) lines.set(channel, each);
    this.#lines = lines;
    this.#idle = 0;
  }

  /** As much of what waits as the broker stores in one step; what has to wait for others is refused. */
  #takeGroup(line: Line): Slot[] {
    const { waiting } = line;
    const held = this.#held.get(line.channel);
    const group: Slot[] = [];
    let bytes = 0;
    let taken = 0;
    for (const slot of waiting) {
      const message = slot.message as NewMessage;
      const isFull = group.length === MAX_STEP_MESSAGES || bytes + message.data.byteLength > MAX_STEP_BYTES;
      if (group.length > 0 && isFull) break;
      taken += 1;
      if (held !== undefined && !slot.hasPassed && !held.pass(messageKey(message))) {
        slot.answer = EARLIER_REFUSED;
        continue;
      }
      slot.hasPassed = true;
      group.push(slot);
      bytes += message.data.byteLength;
    }
    waiting.splice(0, taken);
    if (held?.size === 0) this.#held.delete(line.channel);
    if (group.length < taken) this.#boundHeld();
    return group;
  }

  async #publish(line: Line, group: readonly Slot[]): Promise<void> {
    line.isBusy = true;
    const { broker, rate, onFailure } = this.#options;
    const messages = group.map(({ message }) => message as NewMessage);
    const [first] = messages as [NewMessage, ...NewMessage[]];
    try {
      const results =
        messages.length === 1
          ? [await broker.publish(line.channel, first, rate)]
          : await broker.publishMany(line.channel, messages, rate);
      this.#answer(line, group, results);
    } catch (error) {
      if (!(error instanceof BrokerUnavailableError)) {
        onFailure(error);
        return;
      }
      const refusal = new Refusal('broker_away', { retryAfterMs: error.retryAfterMs, cause: error });
      for (const [n, slot] of group.entries()) slot.answer = n === 0 ? refusal : EARLIER_REFUSED;
      const held = this.#held.get(line.channel) ?? new HeldMessages();
      this.#held.set(line.channel, held);
      held.refuse(messages.map(messageKey));
      this.#boundHeld();
    }
    if (line.timer === undefined) this.#goOn(line);
    this.#options.onAnswers();
  }

  #answer(line: Line, group: readonly Slot[], results: readonly PublishResult[]): void {
    for (const [n, slot] of group.entries()) {
      const result = results[n] as PublishResult;
      if (result.kind === 'rate_limited') {
        // Nothing is refused for its rate: it waits, and before long nobody reads on.
        line.waiting.unshift(...group.slice(n));
        if (this.#isStopped) this.stop();
        else line.timer = setTimeout(() => this.#endWait(line), result.retryAfterMs);
        return;
      }
      slot.answer = answerOf(result, this.#options.rate);
      // Nobody sends again what was refused: it would be held for ever.
      if (result.kind === 'sealed') this.#held.delete(line.channel);
      if (result.kind === 'sealed' || slot.message?.phase === Phase.END) this.#watch?.remove(line.channel);
      else this.#watch?.add(line.channel);
    }
  }

  #endWait(line: Line): void {
    clearTimeout(line.timer);
    line.timer = undefined;
    this.#goOn(line);
  }

  #goOn(line: Line): void {
    line.isBusy = false;
    if (this.#isStopped) return;
    this.#send(line);
    this.#options.onAnswers();
  }

  #boundHeld(): void {
    if (this.#holdsFew()) return;
    // A publisher that sends new messages between those that it sends again is never through with them, and leaves few behind.
    for (const held of this.#held.values()) held.forgetPassed();
    if (this.#holdsFew()) return;
    const text = 'Too many refused messages have not come again';
    this.#options.onFailure(new Refusal('rate_limited', { text, retryAfterMs: 1000 }));
  }

  #holdsFew(): boolean {
    let count = 0;
    for (const { size } of this.#held.values()) count += size;
    return count <= MAX_HELD_MESSAGES;
  }
}

const EARLIER_REFUSED = new Refusal('earlier_refused');

function answerOf(result: PublishResult, rate: PublishRate): PipelineAnswer {
  try {
    return publishedOf(result, rate);
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}
