import type { ActiveLimit } from '#lib/limits/limits.ts';
import type { Received } from './envelope.ts';

/**
 * What both faces of the relay, HTTP and RPC, hand envelopes to. It answers at once, from memory: the project cache and the
 * limits that were last met; what it takes is then looked up, processed, counted and logged behind the answer.
 */
export interface Intake {
  /** Answers without waiting for anything, and without keeping what it refuses. */
  accept(received: Received): Accepted;
}

export type Accepted =
  | {
      readonly kind: 'queued';
      /** What was dropped of it, and for how long: HTTP's 429 though the rest is taken. */
      readonly limits: readonly ActiveLimit[];
      /** Resolves when everything of it is in the log, or has an outcome there. Never rejects; false: it was lost. */
      readonly settled: Promise<boolean>;
    }
  /** All of it is over a limit. Outcomes are on their way. */
  | { readonly kind: 'limited'; readonly limits: readonly ActiveLimit[] }
  /** For this key nothing is taken. */
  | { readonly kind: 'refused'; readonly reason: 'project_disabled' | 'project_id' | 'origin' }
  /** Too much waits here, or the log is full: to be sent again. */
  | { readonly kind: 'overloaded' };
