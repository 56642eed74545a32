import { isObject } from '../json.ts';
import type { Draft } from './draft.ts';

/** What an event may have at the top. */
const ATTRIBUTES: ReadonlySet<string> = new Set(
  `event_id level version type fingerprint culprit transaction transaction_info time_spent logentry logger modules platform
  timestamp start_timestamp received server_name release dist environment site user request contexts breadcrumbs exception
  stacktrace template threads tags extra debug_meta sdk ingest_path errors key_id project grouping_config checksum csp hpkp
  expectct expectstaple nel spans measurements breakdowns scraping_attempts _metrics _metrics_summary _dsc _meta`.split(
    /\s+/,
  ),
);

/** What older SDKs call them. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ['message', 'logentry'],
  ['sentry.interfaces.Message', 'logentry'],
  ['sentry.interfaces.User', 'user'],
  ['sentry.interfaces.Http', 'request'],
  ['sentry.interfaces.Contexts', 'contexts'],
  ['sentry.interfaces.Breadcrumbs', 'breadcrumbs'],
  ['sentry.interfaces.Exception', 'exception'],
  ['sentry.interfaces.Stacktrace', 'stacktrace'],
  ['sentry.interfaces.Template', 'template'],
  ['sentry.interfaces.Threads', 'threads'],
  ['sentry.interfaces.DebugMeta', 'debug_meta'],
  ['sentry.interfaces.Csp', 'csp'],
  ['sentry.interfaces.Hpkp', 'hpkp'],
  ['sentry.interfaces.ExpectCT', 'expectct'],
  ['sentry.interfaces.ExpectStaple', 'expectstaple'],
]);

const OBJECTS = ['user', 'request', 'contexts', 'extra', 'sdk', 'modules', 'debug_meta'] as const;
const LISTS = ['fingerprint', 'spans', 'errors'] as const;

/** Brings what the event has at the top to its names; what has none is null, and noted. */
export function normalizeAttributes({ event, notes }: Draft): void {
  for (const key of Object.keys(event)) {
    if (ATTRIBUTES.has(key)) continue;
    const name = ALIASES.get(key);
    const value = event[key];
    if (name === undefined) {
      event[key] = null;
      notes.error([key], 'invalid_attribute');
    } else {
      // The event's own name wins; an alias that has nothing takes nothing away.
      if ((event[name] ?? null) === null && value !== null) event[name] = value;
      event[key] = undefined;
    }
  }
  for (const key of OBJECTS) {
    const value = event[key];
    if (value === undefined || value === null || isObject(value)) continue;
    // Modules are also sent as a list of pairs, and an empty one is PHP's empty object.
    if (Array.isArray(value) && (value.length === 0 || key === 'modules')) continue;
    event[key] = null;
    notes.invalid([key], 'expected an object');
  }
  for (const key of LISTS) {
    const value = event[key];
    if (value === undefined || value === null || Array.isArray(value)) continue;
    event[key] = null;
    notes.invalid([key], 'expected a list');
  }
}
