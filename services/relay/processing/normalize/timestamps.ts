import { isObject, type JsonObject } from '../json.ts';
import type { Draft } from './draft.ts';

/** From here on a clock is wrong rather than a network slow. */
const CLOCK_DRIFT_MS = 55 * 60_000;
export const MAX_FUTURE_MS = 60_000;
const DAY_MS = 86_400_000;
/** The year 9999. */
const MAX_SECONDS = 253_402_300_799;

const DATE =
  /^(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(\.\d{1,12})?)?)?\s?(?:([Zz])|UTC|([+-])(\d\d):?(\d\d)?)?$/;

/**
 * Times are seconds since 1970, by the server's clock: those of a sender whose clock is far off are all moved by the
 * difference, so that they keep their distances.
 */
export function normalizeTimestamps({ event, notes, origin }: Draft): void {
  const { receivedMs } = origin.sender;
  event['received'] = receivedMs / 1000;
  read(event, 'timestamp', (value) => notes.invalid(['timestamp'], 'expected a timestamp', value));
  read(event, 'start_timestamp', (value) => notes.invalid(['start_timestamp'], 'expected a timestamp', value));
  readBreadcrumbTimes(event, (index) =>
    notes.invalid(['breadcrumbs', 'values', index, 'timestamp'], 'expected a timestamp'),
  );

  const driftMs = driftOf(origin.sentAtMs, receivedMs);
  if (driftMs !== 0) {
    note('clock_drift', origin.sentAtMs ?? receivedMs);
    shift(event, driftMs / 1000);
  }
  const seconds = event['timestamp'];
  if (typeof seconds !== 'number') {
    event['timestamp'] = receivedMs / 1000;
    return;
  }
  const ageMs = receivedMs - seconds * 1000;
  if (ageMs >= -MAX_FUTURE_MS && ageMs <= origin.project.retentionDays * DAY_MS) return;
  note(ageMs < 0 ? 'future_timestamp' : 'past_timestamp', seconds * 1000);
  shift(event, ageMs / 1000);
  event['timestamp'] = receivedMs / 1000;

  function note(name: string, sdkTimeMs: number): void {
    notes.error(['timestamp'], name, { sdk_time: isoOf(sdkTimeMs), server_time: isoOf(receivedMs) });
  }
}

/** By how much a sender's clock is behind; 0 if that may be the network. */
export function driftOf(sentAtMs: number | undefined, receivedMs: number): number {
  const differenceMs = sentAtMs === undefined ? 0 : receivedMs - sentAtMs;
  return Math.abs(differenceMs) >= CLOCK_DRIFT_MS ? differenceMs : 0;
}

/** Seconds since 1970, of a number, or of a date without a zone, which is UTC. Undefined: it is no time. */
export function secondsOf(value: unknown): number | undefined {
  if (typeof value === 'number') return Math.abs(value) <= MAX_SECONDS ? value : undefined;
  if (typeof value !== 'string' || value.length > 64) return undefined;
  const [, year, month, day, hour, minute, second, fraction, , sign, zoneHour, zoneMinute] = DATE.exec(value) ?? [];
  if (year === undefined) {
    const number = /^\d{1,12}(?:\.\d{1,12})?$/.test(value) ? Number(value) : undefined;
    return secondsOf(number);
  }
  const ms = Date.UTC(+year, +month! - 1, +day!, +(hour ?? 0), +(minute ?? 0), +(second ?? 0));
  const isDate = +month! >= 1 && +month! <= 12 && +day! >= 1 && +day! <= 31 && +(hour ?? 0) < 24 && +(minute ?? 0) < 60;
  if (!isDate || +(second ?? 0) > 60) return undefined;
  const zoneSeconds = (+(zoneHour ?? 0) * 60 + +(zoneMinute ?? 0)) * 60;
  return micros(ms / 1000 + Number(fraction ?? 0) - (sign === '-' ? -zoneSeconds : zoneSeconds));
}

function read(object: JsonObject, key: string, onInvalid: (value: unknown) => void): void {
  const value = object[key];
  if (value === undefined || value === null) return;
  const seconds = secondsOf(value);
  object[key] = seconds ?? null;
  if (seconds === undefined) onInvalid(value);
}

function readBreadcrumbTimes(event: JsonObject, onInvalid: (index: number) => void): void {
  const crumbs = valuesOf(event['breadcrumbs']);
  for (let index = 0; index < crumbs.length; index++) {
    const crumb = crumbs[index];
    if (isObject(crumb)) read(crumb, 'timestamp', () => onInvalid(index));
  }
}

function shift(event: JsonObject, seconds: number): void {
  shiftIn(event, ['timestamp', 'start_timestamp'], seconds);
  for (const crumb of valuesOf(event['breadcrumbs'])) shiftIn(crumb, ['timestamp'], seconds);
  const spans = event['spans'];
  if (Array.isArray(spans)) for (const span of spans) shiftIn(span, ['timestamp', 'start_timestamp'], seconds);
}

function shiftIn(object: unknown, keys: readonly string[], seconds: number): void {
  if (!isObject(object)) return;
  for (const key of keys) {
    const value = secondsOf(object[key]);
    if (value !== undefined) object[key] = micros(value + seconds);
  }
}

function valuesOf(value: unknown): readonly unknown[] {
  const values = isObject(value) ? value['values'] : undefined;
  return Array.isArray(values) ? values : [];
}

function micros(seconds: number): number {
  return Math.round(seconds * 1e6) / 1e6;
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
