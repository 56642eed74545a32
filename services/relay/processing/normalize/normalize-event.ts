import type { JsonObject } from '../json.ts';
import { normalizeAttributes } from './attributes.ts';
import { normalizeBasics, normalizeRelease } from './basics.ts';
import { normalizeBreadcrumbs } from './breadcrumbs.ts';
import type { Draft, Origin } from './draft.ts';
import { normalizeExceptions } from './exceptions.ts';
import { normalizeLogentry } from './logentry.ts';
import { Notes } from './notes.ts';
import { normalizeRequest } from './request.ts';
import { normalizeTags } from './tags.ts';
import { normalizeTimestamps } from './timestamps.ts';
import { normalizeUser } from './user.ts';

/**
 * Brings what was sent into the form that everything after relies on, in place. It touches what it knows to be wrong or to
 * have many forms; the rest stays as it was sent.
 */
export function normalizeEvent(event: JsonObject, origin: Origin): void {
  const draft: Draft = { event, notes: new Notes(event['_meta']), origin };
  // Names first; then what others look at: exceptions decide the type, the request may know the user's address, tags the
  // environment; breadcrumbs have their form before their times are read.
  normalizeAttributes(draft);
  normalizeExceptions(draft);
  normalizeBasics(draft);
  normalizeBreadcrumbs(draft);
  normalizeTimestamps(draft);
  normalizeLogentry(draft);
  normalizeRequest(draft);
  normalizeUser(draft);
  normalizeTags(draft);
  normalizeRelease(draft);
  event['_meta'] = draft.notes.root;
}
