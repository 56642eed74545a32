import type { Broker } from '#lib/broker/broker.ts';
import { Follower } from '#lib/broker/follow.ts';
import { Delivery, type Sink } from './delivery.ts';
import { together } from './together.ts';

/** What the tests of listeners share: what follows a broker as the service does, and a sink that reads as a listener would. */

export function followAsService(broker: Broker): Follower<Delivery> {
  return new Follower({
    broker,
    share: (entry) => new Delivery(entry),
    together,
    onError: (error) => {
      throw error;
    },
  });
}

/** What it was sent, in words. */
export class Words implements Sink<string> {
  onDrain = () => {};
  onGone = () => {};
  isGone = false;
  heard: string[] = [];
  over: string | undefined;
  waitingBytes = 0;
  /** Of the bytes that waited. */
  most = 0;
  /** Takes nothing more. */
  stalled = false;
  write(chunk: string): boolean {
    this.heard.push(chunk);
    if (this.stalled) this.waitingBytes += chunk.length;
    this.most = Math.max(this.most, this.waitingBytes);
    return !this.stalled;
  }
  end(): void {
    this.over = 'ended';
  }
  fail(reason: string): void {
    this.over = reason;
  }
}
