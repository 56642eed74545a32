import type { OpenEventStoreOptions } from '#lib/event-store/open-event-store.ts';
import type { OpenLogOptions } from '#lib/log/open-log.ts';
import type { LiveSummary } from './live-summary.ts';
import type { Report } from './reports.ts';

/** What the consumers' thread is started with: plain data. */
export interface ThreadData {
  readonly store: OpenEventStoreOptions;
  readonly log: OpenLogOptions;
}

export type FromThread =
  | { readonly kind: 'live'; readonly summaries: readonly LiveSummary[] }
  | { readonly kind: 'report'; readonly report: Report };

export type ToThread =
  /** So many summaries have arrived: as many more may be sent. */
  | { readonly kind: 'taken'; readonly summaries: number }
  /** Finish, and end the thread. */
  | { readonly kind: 'stop' };
