import type { FaceName } from './faces.ts';
import type { PublishKind } from './publish-kinds.ts';

// What run.ts and the processes that make load say to each other: one question, one answer.

export interface Place {
  readonly host: string;
  readonly port: number;
}

export interface ListenJob {
  readonly kind: 'listen';
  readonly place: Place;
  readonly orgId: number;
  readonly channels: readonly { readonly id: string; readonly token: string }[];
  readonly face: FaceName;
  readonly listeners: number;
  /** Every one of so many stops reading once it has its response's head. 0: none. */
  readonly stalledEvery: number;
}

export interface PublishJob {
  readonly kind: 'publish';
  readonly place: Place;
  readonly orgId: number;
  readonly channelIds: readonly string[];
  readonly token: string;
  readonly how: PublishKind;
  /** All channels together. 0: each publisher sends its next message when it has the answer to the one before. */
  readonly messagesPerSec: number;
  readonly publishers: number;
  readonly fillerBytes: number;
}

export type Ask = ListenJob | PublishJob | { readonly kind: 'begin' | 'end' | 'finish' };

/** Of what happened between `begin` and `end`. */
export interface Measured {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export type Answer =
  | { readonly kind: 'listening'; readonly connected: number; readonly refused: number }
  | { readonly kind: 'publishing' }
  | { readonly kind: 'begun' }
  | { readonly kind: 'measured'; readonly measured: Measured }
  /** `received`: for each listener, -1 for one that was stalled. `closed`: of those that were not. */
  | {
      readonly kind: 'heard';
      readonly received: readonly number[];
      readonly closed: number;
      readonly stalledCut: number;
    }
  /** `acknowledged`: for each channel. `refusals`: what was said to how many messages. */
  | {
      readonly kind: 'published';
      readonly acknowledged: readonly number[];
      readonly refusals: Readonly<Record<string, number>>;
    };
