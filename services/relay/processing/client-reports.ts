import { type DataCategory, isDataCategory } from '#lib/ingest/data-category.ts';
import type { RefusedItem } from '../processing.ts';
import { isObject, type JsonObject, parseJson } from './json.ts';
import { driftOf, MAX_FUTURE_MS, secondsOf } from './normalize/timestamps.ts';

const MAX_REASON_CHARS = 64;
/** Of one entry: counts that are no lies stay sums that a double holds. */
const MAX_QUANTITY = 1_000_000_000;

const LISTS: readonly (readonly [string, RefusedItem['outcome']])[] = [
  ['discarded_events', 'client_discard'],
  ['rate_limited_events', 'rate_limited'],
  ['filtered_events', 'filtered'],
  ['filtered_sampling_events', 'filtered'],
];

export interface ReportedLoss {
  readonly outcome: RefusedItem['outcome'];
  readonly reason: string;
  readonly category: DataCategory;
  readonly quantity: number;
}

/**
 * What a client says that it dropped. Nothing, if it says so from the future; what it says in a form or of a category that
 * isn't known is left out. Undefined: it is no report.
 */
export function readClientReport(
  payload: Uint8Array,
  sentAtMs: number | undefined,
  receivedMs: number,
): readonly ReportedLoss[] | undefined {
  const report = parseJson(payload);
  if (!isObject(report)) return undefined;
  const seconds = secondsOf(report['timestamp']);
  const timeMs = seconds === undefined ? receivedMs : seconds * 1000 + driftOf(sentAtMs, receivedMs);
  if (timeMs > receivedMs + MAX_FUTURE_MS) return [];
  return LISTS.flatMap(([key, outcome]) => {
    const entries = report[key];
    if (!Array.isArray(entries)) return [];
    return entries.filter(isObject).flatMap((entry) => lossOf(entry, outcome) ?? []);
  });
}

function lossOf(entry: JsonObject, outcome: RefusedItem['outcome']): ReportedLoss | undefined {
  const { reason, quantity } = entry;
  const category = categoryOf(entry['category']);
  if (typeof reason !== 'string' || reason === '' || category === undefined) return undefined;
  if (!Number.isSafeInteger(quantity) || (quantity as number) <= 0 || (quantity as number) > MAX_QUANTITY)
    return undefined;
  return { outcome, reason: reason.slice(0, MAX_REASON_CHARS), category, quantity: quantity as number };
}

function categoryOf(name: unknown): DataCategory | undefined {
  if (name === 'user_report_v2') return 'feedback';
  return typeof name === 'string' && isDataCategory(name) ? name : undefined;
}
