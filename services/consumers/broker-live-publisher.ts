import { create, toBinary } from '@bufbuild/protobuf';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import {
  type Broker,
  BrokerUnavailableError,
  channelKey,
  MAX_STEP_MESSAGES,
  type NewMessage,
  type PublishRate,
} from '#lib/broker/broker.ts';
import { uuidOfEventId } from '#lib/ids/event-id.ts';
import { projectChannelId } from '#lib/ids/project-channel.ts';
import { type LivePublisher, MAX_WAITING_SUMMARIES } from './live-publisher.ts';
import { type LiveSummary, livePayload } from './live-summary.ts';
import { errorFields, type Reports } from './reports.ts';

export interface BrokerLivePublisherOptions {
  readonly broker: Broker;
  readonly reports: Reports;
  readonly maxWaiting?: number | undefined;
  readonly settleMs?: number | undefined;
}

/** Steps of the broker under way: enough to fill round trips; each has the broker's own deadline. */
const MAX_IN_FLIGHT = 16;
/** Failing is over when nothing has failed for so long. */
const SETTLE_MS = 10_000;
const NO_LIMIT: PublishRate = { name: 'stream', perSec: 0 };

/**
 * Publishes summaries on the streams of their projects. An event that is published again is a duplicate there, and a
 * project that is quiet for long keeps its stream.
 */
export function createBrokerLivePublisher(options: BrokerLivePublisherOptions): LivePublisher {
  return new BrokerLivePublisher(options);
}

class BrokerLivePublisher implements LivePublisher {
  readonly #broker: Broker;
  readonly #reports: Reports;
  readonly #maxWaiting: number;
  readonly #settleMs: number;
  #waiting: LiveSummary[] = [];
  #next = 0;
  #inFlight = 0;
  #lost = 0;
  #settling: NodeJS.Timeout | undefined;
  #whenIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor({ broker, reports, maxWaiting, settleMs }: BrokerLivePublisherOptions) {
    this.#broker = broker;
    this.#reports = reports;
    this.#maxWaiting = maxWaiting ?? MAX_WAITING_SUMMARIES;
    this.#settleMs = settleMs ?? SETTLE_MS;
  }

  publish(summaries: readonly LiveSummary[]): void {
    if (this.#closing !== undefined) return;
    const room = this.#maxWaiting - (this.#waiting.length - this.#next);
    this.#waiting.push(...summaries.slice(0, room));
    if (summaries.length > room) this.#lose(summaries.length - room, { error: 'too many wait' });
    this.#pump();
  }

  close(timeoutMs: number): Promise<void> {
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  #pump(): void {
    while (this.#inFlight < MAX_IN_FLIGHT) {
      const step = this.#nextStep();
      if (step.length === 0) break;
      this.#inFlight++;
      void this.#publishStep(step).finally(() => {
        this.#inFlight--;
        this.#pump();
      });
    }
    if (this.#next === this.#waiting.length) {
      this.#waiting = [];
      this.#next = 0;
      if (this.#inFlight === 0) this.#whenIdle?.();
    } else if (this.#next * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#next);
      this.#next = 0;
    }
  }

  /** Those of one project that follow each other, as many as the broker stores at once. */
  #nextStep(): readonly LiveSummary[] {
    const from = this.#next;
    const projectId = this.#waiting[from]?.projectId;
    while (this.#next < from + MAX_STEP_MESSAGES && this.#waiting[this.#next]?.projectId === projectId) {
      if (this.#next === this.#waiting.length) break;
      this.#next++;
    }
    return this.#waiting.slice(from, this.#next);
  }

  async #publishStep(step: readonly LiveSummary[]): Promise<void> {
    const [first] = step;
    if (first === undefined) return;
    try {
      const channelId = projectChannelId(first.organizationId, first.projectId);
      const messages = step.map((summary) => messageOf(summary, channelId));
      const channel = channelKey(first.organizationId, channelId);
      const results = await this.#broker.publishMany(channel, messages, NO_LIMIT, 'kept');
      const sealed = results.filter(({ kind }) => kind === 'sealed').length;
      // Somebody with a publish token for the organization may have ended it.
      if (sealed > 0) this.#lose(sealed, { error: "a project's stream was ended" });
    } catch (error) {
      this.#lose(step.length, error instanceof BrokerUnavailableError ? { error: error.message } : errorFields(error));
    }
  }

  /** Told once when it begins, and once when it has been over for a while. */
  #lose(count: number, why: { error: string }): void {
    if (this.#lost === 0) {
      this.#reports({ level: 'warn', message: 'accepted events are not published live', fields: why });
    }
    this.#lost += count;
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      this.#reports({
        level: 'info',
        message: 'accepted events are published live again',
        fields: { unpublished: this.#lost },
      });
      this.#lost = 0;
    }, this.#settleMs).unref();
  }

  async #close(timeoutMs: number): Promise<void> {
    if (this.#inFlight > 0 || this.#waiting.length > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#whenIdle = resolve;
      const timer = setTimeout(resolve, timeoutMs);
      await promise;
      clearTimeout(timer);
    }
    clearTimeout(this.#settling);
    this.#waiting = [];
    this.#next = 0;
  }
}

function messageOf(summary: LiveSummary, channelId: string): NewMessage {
  const identity = { messageId: uuidOfEventId(summary.eventId), phase: Phase.DELTA, sequence: 0n };
  const request = create(PublishRequestSchema, {
    ...identity,
    channelId,
    orgId: summary.organizationId,
    payload: livePayload(summary),
  });
  return { ...identity, data: toBinary(PublishRequestSchema, request) };
}
