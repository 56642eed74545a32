import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { launchChromium } from '../support/chromium.ts';
import { listenByEventSource, ManyRpcListener, Received, sendAll, sequences, startMany } from '../support/many.ts';
import { onRedis } from '../support/place.ts';
import { until } from '../support/until.ts';

// Listeners of several channels when the process that they listen at goes.

describe('a stream replica goes under listeners of 20 channels', () => {
  let place: Awaited<ReturnType<typeof onRedis>>;
  let browser: Browser;
  beforeAll(async () => {
    place = await onRedis({ DRAIN_TIMEOUT_SEC: '3' });
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
    await place?.stop();
  });

  test.each(['SIGKILL', 'SIGTERM'] as const)('%s: all resume by their cursor, and nothing is lost', async (signal) => {
    const { deployment } = place;
    const channels = await startMany(place.url, place.orgId);
    const sources = Array.from({ length: 6 }, () => listenByEventSource(channels.eventsUrl()));
    const typed = Array.from({ length: 6 }, () => new ManyRpcListener(place.url, place.orgId, channels));
    const page = await browser.newPage();
    await page.goto(`${place.url}/healthz`);
    await page.evaluate(listenInPage, channels.eventsUrl());
    const inPage = () => page.evaluate<PageHeard>('heard');
    try {
      await sendAll(place, channels.ids, 0, 10);
      await until('everybody has the first 200', async () => {
        const { events } = await inPage();
        return [...sources, ...typed].every(({ received }) => received.count === 200) && events.length === 200;
      });
      const leaving = deployment.stream[0];
      const sending = sendAll(place, channels.ids, 10, 40, Phase.END);
      leaving?.kill(signal);
      await leaving?.exited;
      await sending;
      await until('everybody has all', async () => {
        const { events } = await inPage();
        const pages = receivedOf(events);
        return [...sources.map(({ received }) => received), ...typed.map(({ received }) => received), pages].every(
          ({ ended }) => ended === 20,
        );
      });
      const expected = Object.fromEntries(channels.ids.map((id) => [id, sequences(40)]));
      const { events, ids } = await inPage();
      const receiveds = [...sources, ...typed].map(({ received }) => received);
      for (const received of [...receiveds, receivedOf(events)]) {
        expect(Object.fromEntries(received.sequences)).toEqual(expected);
        // Resumed, and not begun again: at most what one write brought is repeated.
        expect(received.repeated).toBeLessThan(200);
      }
      // Blocks with an id and nothing else are no events to Chromium, and move its cursor.
      expect(ids.filter((id) => id !== '').every((id) => /^[A-Za-z0-9_-]{481}$/.test(id))).toBe(true);
      expect(new Set(ids).size).toBeGreaterThan(1);
      await until('204 stops them', async () => {
        const { state } = await inPage();
        return state === 2 && sources.every(({ source }) => source.readyState === 2);
      });
      await until('typed ones end', () => typed.every(({ hasEnded }) => hasEnded));
    } finally {
      for (const { source } of sources) source.close();
      for (const listener of typed) listener.close();
      await page.close();
    }
    await deployment.restart('stream', 0);
    await deployment.untilInUse('stream', 0);
  });
});

interface PageHeard {
  readonly events: readonly string[];
  /** What the page's EventSource said to be its last id, at each event. */
  readonly ids: readonly string[];
  readonly state: number;
}

/** Runs in the page. */
function listenInPage(url: string): void {
  const source = new EventSource(url);
  const heard = {
    events: [] as string[],
    ids: [] as string[],
    get state() {
      return source.readyState;
    },
  };
  source.addEventListener('stream', (event) => {
    const { data, lastEventId } = event as MessageEvent;
    heard.events.push(data);
    heard.ids.push(lastEventId);
  });
  Object.assign(globalThis, { heard });
}

function receivedOf(events: readonly string[]): Received {
  const received = new Received();
  for (const data of events) received.event('stream', data);
  return received;
}
