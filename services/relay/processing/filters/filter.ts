import type { PlainFilters } from '../../processing.ts';
import type { JsonObject } from '../json.ts';
import type { Origin } from '../normalize/draft.ts';
import { browserExtensions } from './browser-extensions.ts';
import { clientIps } from './client-ips.ts';
import { cspSources } from './csp-sources.ts';
import { errorMessages, releases, transactions } from './globs.ts';
import { legacyBrowsers } from './legacy-browsers.ts';
import { localhost } from './localhost.ts';
import { webCrawlers } from './web-crawlers.ts';

/** Whether a normalized event is one that the project doesn't want. */
export type Filter = (event: JsonObject, sender: Origin['sender']) => boolean;

/** By the reasons of outcomes, in the order in which they are asked: the first that says yes names the reason. */
const FILTERS: readonly (readonly [reason: string, make: (settings: PlainFilters) => Filter | undefined])[] = [
  ['invalid-csp', cspSources],
  ['ip-address', clientIps],
  ['release-version', releases],
  ['error-message', errorMessages],
  ['localhost', (settings) => (settings.localhost ? localhost : undefined)],
  ['browser-extensions', (settings) => (settings.browserExtensions ? browserExtensions : undefined)],
  ['legacy-browsers', legacyBrowsers],
  ['web-crawlers', (settings) => (settings.webCrawlers ? webCrawlers : undefined)],
  ['filtered-transaction', transactions],
];

type Compiled = readonly (readonly [reason: string, isUnwanted: Filter])[];

const compiled = new WeakMap<PlainFilters, Compiled>();

/** Why the project doesn't want this event; undefined: it does. */
export function filterReason(event: JsonObject, sender: Origin['sender'], settings: PlainFilters): string | undefined {
  for (const [reason, isUnwanted] of compile(settings)) if (isUnwanted(event, sender)) return reason;
  return undefined;
}

function compile(settings: PlainFilters): Compiled {
  const known = compiled.get(settings);
  if (known !== undefined) return known;
  const made = FILTERS.flatMap(([reason, make]) => {
    const filter = make(settings);
    return filter === undefined ? [] : [[reason, filter] as const];
  });
  compiled.set(settings, made);
  return made;
}
