import { create, toBinary } from '@bufbuild/protobuf';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { type Broker, BrokerUnavailableError, channelKey, type PublishRate } from '#lib/broker/broker.ts';
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

/** Enough to fill round trips; each has the broker's own deadline. */
const MAX_IN_FLIGHT = 64;
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
      const summary = this.#waiting[this.#next];
      if (summary === undefined) break;
      this.#next++;
      this.#inFlight++;
      void this.#publishOne(summary).finally(() => {
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

  async #publishOne(summary: LiveSummary): Promise<void> {
    try {
      const { channel, message } = messageOf(summary);
      const result = await this.#broker.publish(channel, message, NO_LIMIT, 'kept');
      // Somebody with a publish token for the organization may have ended it.
      if (result.kind === 'sealed') this.#lose(1, { error: "a project's stream was ended" });
    } catch (error) {
      this.#lose(1, error instanceof BrokerUnavailableError ? { error: error.message } : errorFields(error));
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

function messageOf(summary: LiveSummary) {
  const channelId = projectChannelId(summary.organizationId, summary.projectId);
  const identity = { messageId: uuidOfEventId(summary.eventId), phase: Phase.DELTA, sequence: 0n };
  const request = create(PublishRequestSchema, {
    ...identity,
    channelId,
    orgId: summary.organizationId,
    payload: livePayload(summary),
  });
  const message = { ...identity, data: toBinary(PublishRequestSchema, request) };
  return { channel: channelKey(summary.organizationId, channelId), message };
}
