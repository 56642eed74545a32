import type { Sender } from '../../envelope.ts';
import type { ProcessProject } from '../../processing.ts';
import type { JsonObject } from '../json.ts';
import type { Notes } from './notes.ts';

/** An event while it is brought into its form, in place. What must go is set to undefined: deleting is slow. */
export interface Draft {
  readonly event: JsonObject;
  readonly notes: Notes;
  readonly origin: Origin;
}

/** What is known of an event beside its payload. */
export interface Origin {
  readonly eventId: string;
  /** Of its item, where that says more than the event may. */
  readonly type: 'transaction' | 'feedback' | undefined;
  readonly sentAtMs: number | undefined;
  readonly sender: Pick<Sender, 'remoteAddr' | 'userAgent' | 'client' | 'receivedMs'>;
  readonly project: ProcessProject;
}
