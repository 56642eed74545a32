import type { Envelope, Item, Sender } from '../envelope.ts';
import { itemOf as itemOfBytes } from '../http-call.ts';
import type { PlainFilters, Processed, ProcessInput, ProcessProject } from '../processing.ts';
import type { JsonObject } from './json.ts';
import { processEnvelope } from './judge.ts';

/** Envelopes for tests: of one event, and what came of it. */

export const RECEIVED_MS = Date.parse('2026-11-21T10:00:00.000Z');
export const EVENT_ID = '4c79f60c11214eb38604f4ae0781bfb2';

export const NO_FILTERS: PlainFilters = {
  browserExtensions: false,
  webCrawlers: false,
  localhost: false,
  legacyBrowsers: [],
  clientIps: [],
  errorMessages: [],
  releases: [],
  cspDisallowedSources: [],
  transactions: [],
};

export interface Given {
  readonly envelope?: Partial<Envelope>;
  readonly sender?: Partial<Sender>;
  readonly project?: Partial<ProcessProject>;
  readonly filters?: Partial<PlainFilters>;
}

export function itemOf(type: string, payload: unknown, header: Partial<Item> = {}): Item {
  const bytes =
    payload instanceof Uint8Array
      ? payload
      : Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload));
  return itemOfBytes(type, bytes, header);
}

export function inputOf(items: readonly Item[], given: Given = {}): ProcessInput {
  return {
    envelope: { eventId: EVENT_ID, sentAtMs: undefined, headers: {}, items, ...given.envelope },
    sender: {
      publicKey: 'a'.repeat(32),
      projectId: 42n,
      remoteAddr: '203.0.113.7',
      origin: undefined,
      userAgent: undefined,
      client: undefined,
      receivedMs: RECEIVED_MS,
      ...given.sender,
    },
    project: {
      organizationId: 1n,
      projectId: 42n,
      keyId: 7n,
      retentionDays: 90,
      filters: { ...NO_FILTERS, ...given.filters },
      scrubIpAddresses: false,
      ...given.project,
    },
  };
}

export function processItems(items: readonly Item[], given: Given = {}): Processed {
  return processEnvelope(inputOf(items, given));
}

/** What an event is brought to. */
export function normalized(event: unknown, given: Given = {}): JsonObject {
  const processed = processItems([itemOf('event', event)], given);
  const [only] = processed.events;
  if (only === undefined) throw new Error(`refused: ${processed.refused.map(({ reason }) => reason).join(', ')}`);
  return JSON.parse(Buffer.from(only.payload).toString()) as JsonObject;
}

/** By which filter an event is refused; undefined: it isn't. */
export function filteredAs(
  event: unknown,
  filters: Partial<PlainFilters>,
  sender: Partial<Sender> = {},
): string | undefined {
  const { events, refused } = processItems([itemOf('event', event)], { filters, sender });
  if (events.length > 0) return undefined;
  return refused.find(({ outcome }) => outcome === 'filtered')?.reason;
}
