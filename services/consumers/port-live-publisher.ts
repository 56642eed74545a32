import { type LivePublisher, MAX_WAITING_SUMMARIES } from './live-publisher.ts';
import type { LiveSummary } from './live-summary.ts';
import type { Reports } from './reports.ts';

export interface PortLivePublisherOptions {
  readonly send: (summaries: readonly LiveSummary[]) => void;
  readonly reports: Reports;
  readonly maxUnderWay?: number | undefined;
}

/** Hands summaries to another thread, and no more than it takes: a port's queue has no end of its own. */
export class PortLivePublisher implements LivePublisher {
  readonly #options: PortLivePublisherOptions;
  readonly #maxUnderWay: number;
  #underWay = 0;
  #dropped = 0;

  constructor(options: PortLivePublisherOptions) {
    this.#options = options;
    this.#maxUnderWay = options.maxUnderWay ?? MAX_WAITING_SUMMARIES;
  }

  publish(summaries: readonly LiveSummary[]): void {
    const sent = summaries.slice(0, this.#maxUnderWay - this.#underWay);
    this.#drop(summaries.length - sent.length);
    if (sent.length === 0) return;
    this.#underWay += sent.length;
    this.#options.send(sent);
  }

  /** The other side has so many, and has made room. */
  taken(count: number): void {
    this.#underWay -= count;
    if (this.#dropped === 0) return;
    const fields = { unpublished: this.#dropped };
    this.#dropped = 0;
    this.#options.reports({ level: 'info', message: 'accepted events are published live again', fields });
  }

  async close(): Promise<void> {
    // What was sent arrives before the thread's end does.
  }

  #drop(count: number): void {
    if (count === 0) return;
    if (this.#dropped === 0) {
      const fields = { error: 'the other thread is behind' };
      this.#options.reports({ level: 'warn', message: 'accepted events are not published live', fields });
    }
    this.#dropped += count;
  }
}
