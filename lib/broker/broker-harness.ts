import { randomUUID } from 'node:crypto';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type Broker, type ChannelKey, channelKey, type NewMessage } from './broker.ts';

/** A broker with what a test needs around it. */
export interface BrokerHarness {
  readonly broker: Broker;
  /** The broker's clock, for ids, ages and rates. */
  nowMs(): number;
  /** The clock by which logs and seals expire. */
  ttlNowMs(): number;
  /** Lets `ms` pass as far as expiry goes, at least for these channels. */
  elapse(ms: number, channels: readonly ChannelKey[]): Promise<void>;
  /** Lets `ms` pass for ids, ages and rates. */
  wait(ms: number): Promise<void>;
  /** Cuts live delivery, and waits until the broker says that it stands again. */
  cutLive?(): Promise<void>;
  /** Remembers what is stored for these channels; the answer brings it back, as a failover that lost what came after. */
  save?(channels: readonly ChannelKey[]): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

export function newChannel(): ChannelKey {
  return channelKey(BigInt(Math.floor(Math.random() * 1e9)), randomUUID());
}

export function newMessage(fields: Partial<NewMessage> = {}): NewMessage {
  return { messageId: randomUUID(), phase: Phase.DELTA, sequence: 1n, data: new Uint8Array([1, 2, 3]), ...fields };
}
