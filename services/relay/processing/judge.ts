import type { DataCategory } from '#lib/ingest/data-category.ts';
import { newEventId, readEventId } from '../envelope-event-id.ts';
import { isLenientClient } from '../lenient-clients.ts';
import { nativeCrash } from '../native-crash.ts';
import type { Processed, ProcessedEvent, ProcessInput, RefusedItem } from '../processing.ts';
import { readClientReport } from './client-reports.ts';

import { filterReason } from './filters/filter.ts';
import { countOf, eventTypeOf, isEvent, isKnown, itemCategory } from './item-types.ts';
import { isObject, type JsonObject, parseJson } from './json.ts';
import { categoryOf } from './normalize/basics.ts';
import type { Origin } from './normalize/draft.ts';
import { normalizeEvent } from './normalize/normalize-event.ts';
import { MAX_REPORTS, readSecurityReports } from './security-reports.ts';
import { VerdictBuilder } from './verdict-builder.ts';
import { resolve, type Verdict, type Work, type WorkItem, workOf } from './work.ts';

const MINIDUMP = 'event.minidump';

/** What becomes of an envelope: no I/O, no state, and no exception. */
export function processEnvelope(input: ProcessInput): Processed {
  return resolve(input, judge(workOf(input)));
}

/**
 * Reasons of what is refused as invalid: `invalid_json`, `no_event_payload` (it is empty), `too_large:security` (too many reports at once), `duplicate_item` (a second event), `no_event_id` (nothing says which event it belongs to),
 * `security_report_type`, `unsupported` (known, and not stored here: sessions, replays, profiles …), `unknown_item`, and
 * `internal` (a fault of ours).
 */
export function judge(work: Work): Verdict {
  const verdict = new VerdictBuilder();
  const attachments: number[] = [];
  const userReports: number[] = [];
  let main: WorkItem | undefined;
  for (const [index, item] of work.items.entries()) {
    if (isEvent(item.type)) {
      if (main === undefined) main = item;
      else verdict.refuse('invalid', 'duplicate_item', itemCategory(item), undefined);
    } else if (item.type === 'attachment') attachments.push(index);
    else if (item.type === 'user_report') userReports.push(index);
    else if (item.type === 'client_report') takeClientReport(item, work, verdict);
    else if (item.type === 'security' || item.type === 'raw_security') takeSecurity(item, work, verdict);
    else {
      const reason = isKnown(item.type) ? 'unsupported' : 'unknown_item';
      verdict.refuse('invalid', reason, itemCategory(item), undefined, countOf(item));
    }
  }
  const minidump = attachments.some((index) => work.items[index]!.attachmentType === MINIDUMP);
  const refusal =
    main !== undefined
      ? takeEvent(main, work, verdict)
      : minidump && verdict.events.length === 0
        ? take(nativeCrash(), undefined, work.eventId ?? newEventId(), work, verdict)
        : undefined;
  takeBelongings(attachments, userReports, refusal, work, verdict);
  return verdict;
}

/** What becomes of an envelope that nobody may look into. */
export function refuseAll(work: Work, reason: string): Verdict {
  const verdict = new VerdictBuilder();
  const refusal: Refusal = { outcome: 'invalid', reason, eventId: work.eventId };
  const attachments: number[] = [];
  for (const [index, item] of work.items.entries()) {
    if (item.type === 'attachment') attachments.push(index);
    else verdict.refuse('invalid', reason, itemCategory(item), work.eventId);
  }
  takeBelongings(attachments, [], refusal, work, verdict);
  return verdict;
}

/** Why what belongs to an event goes with it. */
type Refusal = Pick<RefusedItem, 'outcome' | 'reason' | 'eventId'>;

function takeEvent(item: WorkItem, work: Work, verdict: VerdictBuilder): Refusal | undefined {
  const payload = item.payload!;
  const event = readEvent(payload, isLenientClient(work.sender.client));
  if (typeof event === 'string') {
    const refusal: Refusal = { outcome: 'invalid', reason: event, eventId: work.eventId };
    verdict.refuse('invalid', event, itemCategory(item), work.eventId);
    return refusal;
  }
  const eventId = work.eventId ?? readEventId(event['event_id']) ?? newEventId();
  const type = eventTypeOf(item);
  return take(event, type, eventId, work, verdict);
}

/** The event, or why there is none. */
function readEvent(payload: Uint8Array, isLenient: boolean): JsonObject | string {
  if (payload.byteLength === 0) return 'no_event_payload';
  const event = parseJson(payload, isLenient);
  return isObject(event) ? event : 'invalid_json';
}

/** Normalizes and filters. @returns why it isn't taken. */
function take(
  event: JsonObject,
  type: Origin['type'],
  eventId: string,
  work: Work,
  verdict: VerdictBuilder,
): Refusal | undefined {
  let refusal: Refusal;
  let category: DataCategory = categoryOf(type);
  try {
    normalizeEvent(event, { eventId, type, sentAtMs: work.sentAtMs, sender: work.sender, project: work.project });
    category = categoryOf(event['type']);
    const reason = filterReason(event, work.sender, work.project.filters);
    if (reason === undefined) {
      const taken: ProcessedEvent = { eventId, category, payload: Buffer.from(JSON.stringify(event)) };
      verdict.events.push(taken);
      return undefined;
    }
    refusal = { outcome: 'filtered', reason, eventId };
  } catch (error) {
    verdict.fault(error);
    refusal = { outcome: 'invalid', reason: 'internal', eventId };
  }
  verdict.refuse(refusal.outcome, refusal.reason, category, eventId);
  return refusal;
}

function takeSecurity(item: WorkItem, work: Work, verdict: VerdictBuilder): void {
  const reports = readSecurityReports(item.payload!);
  if (reports === undefined) {
    verdict.refuse('invalid', 'invalid_json', 'security', work.eventId);
    return;
  }
  const more = reports.length - MAX_REPORTS;
  if (more > 0) verdict.refuse('invalid', 'too_large:security', 'security', undefined, more);
  for (const report of reports.slice(0, MAX_REPORTS)) {
    if (report.kind === 'unknown') verdict.refuse('invalid', 'security_report_type', 'security', undefined);
    else {
      const { event } = report;
      event['release'] = item.headers['sentry_release'];
      event['environment'] = item.headers['sentry_environment'];
      event['platform'] = 'javascript';
      const isFirst = verdict.events.length === 0;
      take(event, undefined, (isFirst ? work.eventId : undefined) ?? newEventId(), work, verdict);
    }
  }
}

function takeClientReport(item: WorkItem, work: Work, verdict: VerdictBuilder): void {
  const losses = readClientReport(item.payload!, work.sentAtMs, work.sender.receivedMs);
  if (losses === undefined) verdict.refuse('invalid', 'invalid_json', 'default', undefined);
  else for (const loss of losses) verdict.refuse(loss.outcome, loss.reason, loss.category, undefined, loss.quantity);
}

function takeBelongings(
  attachments: readonly number[],
  userReports: readonly number[],
  refusal: Refusal | undefined,
  work: Work,
  verdict: VerdictBuilder,
): void {
  const owner = verdict.events[0]?.eventId ?? work.eventId;
  for (const item of userReports) {
    const report = parseJson(work.items[item]!.payload!);
    const eventId = (isObject(report) ? readEventId(report['event_id']) : undefined) ?? owner;
    if (!isObject(report)) verdict.refuse('invalid', 'invalid_json', 'feedback', owner);
    else if (refusal !== undefined) verdict.refuse(refusal.outcome, refusal.reason, 'feedback', refusal.eventId);
    else if (eventId === undefined) verdict.refuse('invalid', 'no_event_id', 'feedback', undefined);
    else verdict.userReports.push({ eventId, item });
  }
  for (const item of attachments) {
    if (refusal === undefined && owner !== undefined) {
      verdict.attachments.push({ eventId: owner, item });
      continue;
    }
    const { outcome, reason, eventId } = refusal ?? { outcome: 'invalid', reason: 'no_event_id', eventId: undefined };
    verdict.refuse(outcome, reason, 'attachment', eventId, work.items[item]!.sizeBytes);
    verdict.refuse(outcome, reason, 'attachment_item', eventId);
  }
}
