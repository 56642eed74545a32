import { type DataCategory, isDataCategory } from '#lib/ingest/data-category.ts';
import type { ActiveLimit, LimitScope } from '#lib/limits/limits.ts';

/** `X-Sentry-Rate-Limits`: `retry:category;category:scope[:reason[:namespace;…]]`, and commas between limits. */
export const RATE_LIMITS_HEADER = 'x-sentry-rate-limits';

/** A limit as the header tells it: without whose it is. */
export type ToldLimit = Omit<ActiveLimit, 'scopeId'>;

export function formatRateLimits(limits: readonly ToldLimit[], nowMs: number): string {
  return limits.map((limit) => formatOne(limit, nowMs)).join(', ');
}

/** Until the last of them ends, in whole seconds; at least one, or a client would ask again at once. */
export function retryAfterSec(limits: readonly ToldLimit[], nowMs: number): number {
  return limits.reduce((longest, limit) => Math.max(longest, secondsLeft(limit, nowMs)), 1);
}

export function secondsLeft({ untilMs }: ToldLimit, nowMs: number): number {
  return Math.max(0, Math.ceil((untilMs - nowMs) / 1000));
}

/** Takes what makes sense: a category that isn't known is left out, and with the last of them the limit. */
export function parseRateLimits(header: string, nowMs: number): ToldLimit[] {
  return header.split(',').flatMap((text) => parseOne(text, nowMs) ?? []);
}

/** What a bare `Retry-After` means: all that is sent with the key. */
export function limitOfRetryAfter(header: string, nowMs: number): ToldLimit | undefined {
  const seconds = /^\s*\d+\s*$/.test(header) ? Number(header) : (Date.parse(header) - nowMs) / 1000;
  const untilMs = untilOf(seconds, nowMs);
  if (untilMs === undefined) return undefined;
  return { scope: 'key', categories: [], reasonCode: 'generic', untilMs };
}

function formatOne(limit: ToldLimit, nowMs: number): string {
  const { scope, categories, reasonCode } = limit;
  const reason = reasonCode === undefined || reasonCode === '' ? '' : `:${reasonCode.replace(NOT_IN_A_REASON, '_')}`;
  return `${secondsLeft(limit, nowMs)}:${categories.join(';')}:${scope}${reason}`;
}

/** Who manages quotas gives reasons their names: none of them ends a field, a limit or the header. */
const NOT_IN_A_REASON = /[^A-Za-z0-9_.-]/g;

function parseOne(text: string, nowMs: number): ToldLimit | undefined {
  const [retry = '', names = '', scope = '', reason = ''] = text.trim().split(':');
  const untilMs = untilOf(Number(retry.trim() === '' ? Number.NaN : retry), nowMs);
  if (untilMs === undefined) return undefined;
  const all = names.split(';').flatMap((name) => name.trim() || []);
  const categories = all.flatMap((name): DataCategory | [] => (isDataCategory(name) ? name : []));
  if (all.length > 0 && categories.length === 0) return undefined;
  return { scope: scopeOf(scope.trim()), categories, reasonCode: reason.trim() || undefined, untilMs };
}

/** Longer than any limit that is meant: so that no number makes a time that can't be. */
const MAX_RETRY_SEC = 7 * 86_400;

function untilOf(seconds: number, nowMs: number): number | undefined {
  if (Number.isNaN(seconds) || seconds < 0) return undefined;
  return nowMs + Math.ceil(Math.min(seconds, MAX_RETRY_SEC)) * 1000;
}

/** What isn't known is taken for the narrowest. */
function scopeOf(text: string): LimitScope {
  return text === 'organization' || text === 'project' ? text : 'key';
}
