import { setTimeout as delay } from 'node:timers/promises';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { ConduitClient } from 'conduit-client';
import { EventSource } from 'eventsource';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ControlType, Phase, type PublishRequest } from '#gen/tideway/stream/v1/message_pb.ts';
import { PublishService } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { listen, parseEvents } from '../support/events.ts';
import { startMany } from '../support/many.ts';
import { PLACES, type Place } from '../support/place.ts';
import { eventsUrl, message, type StreamAccess } from '../support/story.ts';
import { until } from '../support/until.ts';

// An answer of 2,000 tokens, published one by one on a channel that coalesces, through the edge.

const WINDOW_MS = 50;
const TOKENS = Array.from({ length: 2000 }, (_, n) => (n % 7 === 0 ? ` wörd${n}` : n % 11 === 0 ? '🙂\n' : `t${n}`));
const WHOLE = TOKENS.join('');
/** In the middle, what is no text. */
const USAGE = { tokens: 1000 };
const isUsage = (payload: unknown) => JSON.stringify(payload) === JSON.stringify(USAGE);

/** What a listener received, message by message. */
interface Heard {
  readonly id: string;
  readonly messageId: string;
  readonly sequence: number;
  readonly phase: Phase;
  readonly payload: unknown;
}

class Listening {
  readonly heard: Heard[] = [];
  readonly controls: string[] = [];
  isOver = false;
  readonly startedMs = performance.now();
  endedMs = 0;

  end(): void {
    this.isOver = true;
    this.endedMs = performance.now();
  }

  async ended(): Promise<this> {
    await until('the response ends', () => this.isOver, 60_000);
    return this;
  }

  get texts(): string[] {
    return textsOf(this.heard);
  }
}

function textsOf(heard: readonly Heard[]): string[] {
  return heard.flatMap(({ payload }) => {
    const { text } = (payload ?? {}) as { text?: string };
    return text === undefined ? [] : [text];
  });
}

type Listen = (place: Place, access: StreamAccess, lastEventId?: string) => Promise<Listening>;

const listenBySse: Listen = async (_, access, lastEventId) => {
  const listening = new Listening();
  const resumed = lastEventId === undefined ? {} : { last_event_id: lastEventId };
  const response = await listen(eventsUrl(access, { controls: '1', ...resumed }));
  void (async () => {
    await until('the end', () => response.end() !== 'open', 60_000);
    for (const { event, id = '', data = '{}' } of parseEvents(response.text())) {
      const { message_id, sequence, phase, payload, control_type } = JSON.parse(data);
      if (event === 'stream') {
        const named = Phase[phase.replace('PHASE_', '') as keyof typeof Phase];
        listening.heard.push({ id, messageId: message_id, sequence, phase: named, payload });
      }
      if (event === 'control') listening.controls.push(control_type);
    }
    listening.end();
  })();
  return listening;
};

const listenTyped =
  (open: typeof createGrpcTransport | typeof createConnectTransport): Listen =>
  async ({ url, orgId }, { token, channel_id }, lastEventId = '') => {
    const listening = new Listening();
    const client = createClient(StreamService, open({ baseUrl: url, httpVersion: '2', useBinaryFormat: false }));
    const headers = { authorization: `Bearer ${token}` };
    const beat = Promise.withResolvers<void>();
    void (async () => {
      for await (const { id, event } of client.subscribe({ orgId, channelId: channel_id, lastEventId }, { headers })) {
        beat.resolve();
        if (event.case === 'message') {
          const { messageId, sequence, phase, payload } = event.value;
          listening.heard.push({ id, messageId, sequence: Number(sequence), phase, payload: payload ?? null });
        } else if (event.value?.type !== ControlType.HEARTBEAT) {
          listening.controls.push(event.value?.type === ControlType.GAP ? 'gap' : `${event.value?.type}`);
        }
      }
    })()
      .catch((error: unknown) => listening.controls.push(String(error)))
      .finally(() => {
        listening.end();
        beat.resolve();
      });
    // Something comes within a second, if only a sign of life.
    await beat.promise;
    return listening;
  };

const LISTENERS: readonly [string, Listen][] = [
  ['SSE', listenBySse],
  ['Connect, JSON', listenTyped(createConnectTransport)],
  ['gRPC', listenTyped(createGrpcTransport)],
];

/** START, the tokens with something else in the middle, and END, by one call; `half` is awaited in the middle. */
async function publishAnswer(place: Place, channelId: string, half: () => Promise<void> = async () => {}) {
  const { url, orgId, publishToken } = place;
  const client = createClient(PublishService, createGrpcTransport({ baseUrl: url }));
  const sent: PublishRequest[] = [];
  const answered: string[] = [];
  const make = (init: Parameters<typeof message>[0]) => {
    const made = message({ channelId, orgId, sequence: sent.length, ...init });
    sent.push(made);
    return made;
  };
  async function* requests() {
    yield { message: { ...make({ phase: Phase.START }), coalesceWindowMs: WINDOW_MS } };
    for (const [n, text] of TOKENS.entries()) {
      if (n === TOKENS.length / 2) {
        yield { message: make({ payload: USAGE }) };
        await until('the first half is stored', () => answered.length === sent.length);
        await half();
      }
      if (n % 100 === 99) await delay(20);
      yield { message: make({ payload: { text } }) };
    }
    yield { message: make({ phase: Phase.END }) };
    await until('all is stored', () => answered.length === sent.length, 60_000);
  }
  const headers = { authorization: `Bearer ${publishToken}` };
  for await (const { result } of client.publishStream(requests(), { headers })) {
    if (result.case !== 'published') throw new Error(JSON.stringify(result));
    answered.push(result.value.id);
  }
  return { sent, ids: answered };
}

async function newChannel(place: Place, channelId = crypto.randomUUID()): Promise<StreamAccess> {
  const { ids, token, eventsUrl: url } = await startMany(place.url, place.orgId, [channelId]);
  return { channel_id: ids[0] ?? '', token, url: url().replace(/\?.*/, '') };
}

describe.each(PLACES)('%s', (_, start) => {
  describe('with all messages retained', () => {
    let place: Place;
    beforeAll(async () => {
      place = await start({ STREAM_RETAIN_MESSAGES: '5000' });
    });
    afterAll(() => place?.stop());

    test.each(LISTENERS)('%s: the text is the same from the beginning, the middle and the end', async (_name, open) => {
      const access = await newChannel(place);
      const first = await open(place, access);
      const middle: Listening[] = [];
      const { sent, ids } = await publishAnswer(place, access.channel_id, async () => {
        middle.push(await open(place, access));
      });
      const last = await open(place, access);
      for (const listening of [first, ...middle, last]) {
        await listening.ended();
        expect(listening.controls).toEqual([]);
        expect(listening.texts.join('')).toBe(WHOLE);
        // What is no text is where it was, and each message is at the place of the last that it stands for.
        const half = listening.heard.findIndex(({ payload }) => isUsage(payload));
        expect(textsOf(listening.heard.slice(0, half)).join('')).toBe(TOKENS.slice(0, 1000).join(''));
        expect([listening.heard[0]?.phase, listening.heard.at(-1)?.phase]).toEqual([Phase.START, Phase.END]);
        for (const { id, messageId, sequence } of listening.heard) {
          expect([ids[sequence], sent[sequence]?.messageId]).toEqual([id, messageId]);
        }
      }
      // Text at most once a window; what is no text takes along what waits.
      const windows = (first.endedMs - first.startedMs) / WINDOW_MS;
      expect(first.texts.length).toBeLessThan(1.1 * windows + 4);
      expect(first.texts.length).toBeLessThan(TOKENS.length);
      // START, text, what is no text, text, END.
      expect(last.heard).toHaveLength(5);
      // And the first half as well: START, text, what is no text.
      expect(middle[0]?.heard.findIndex(({ payload }) => isUsage(payload))).toBe(2);

      for (const { id, sequence } of first.heard) {
        if (id === ids.at(-1)) continue;
        const resumed = await (await open(place, access, id)).ended();
        const missed = sent.slice(sequence + 1).map(({ payload }) => payload?.['text'] ?? '');
        expect([resumed.texts.join(''), resumed.controls]).toEqual([missed.join(''), []]);
        // The rest of a piece is read one by one, so many at a time.
        expect(resumed.heard.length).toBeLessThan(5 + missed.length / 100);
      }
    });

    test('several channels over one connection: each text comes with the cursor', async () => {
      const channels = await startMany(place.url, place.orgId, [crypto.randomUUID(), crypto.randomUUID()]);
      const live = await listen(channels.eventsUrl());
      await Promise.all(channels.ids.map((id) => publishAnswer(place, id)));
      await live.ended();
      const late = await listen(channels.eventsUrl());
      await late.ended();
      for (const response of [live, late]) {
        const texts: Record<string, string> = {};
        for (const { event, data = '', id } of response.events()) {
          if (event !== 'stream') continue;
          const { channel_id, phase, payload } = JSON.parse(data);
          expect(id !== undefined).toBe(payload?.text !== undefined && phase === 'PHASE_DELTA');
          texts[channel_id] = (texts[channel_id] ?? '') + (payload?.text ?? '');
        }
        expect(texts).toEqual(Object.fromEntries(channels.ids.map((id) => [id, WHOLE])));
      }
      expect(late.events().filter(({ event }) => event === 'stream')).toHaveLength(10);
      // From any cursor, whatever it stood in, each text is complete.
      const whole = live.text();
      for (const part of [0.1, 0.25, 0.5, 0.6, 0.9]) {
        const seen = new Set<string>();
        const texts: Record<string, string> = {};
        let cursor = '';
        const take = (text: string) => {
          for (const { event, data = '', id } of parseEvents(text)) {
            cursor = id ?? cursor;
            if (event !== 'stream') continue;
            const { channel_id, message_id, payload } = JSON.parse(data);
            if (seen.has(message_id)) continue;
            seen.add(message_id);
            texts[channel_id] = (texts[channel_id] ?? '') + (payload?.text ?? '');
          }
        };
        take(whole.slice(0, Math.floor(whole.length * part)));
        const rest = await listen(channels.eventsUrl(undefined, { last_event_id: cursor }));
        await rest.ended();
        take(rest.text());
        expect(texts).toEqual(Object.fromEntries(channels.ids.map((id) => [id, WHOLE])));
      }
      const typed = createClient(StreamService, createGrpcTransport({ baseUrl: place.url }));
      const request = { orgId: place.orgId, channelIds: [...channels.ids] };
      const headers = { authorization: `Bearer ${channels.token}` };
      for await (const { event, cursor } of typed.subscribeMany(request, { headers })) {
        if (event.case !== 'message') continue;
        expect(cursor !== undefined).toBe(event.value.payload?.['text'] !== undefined);
      }
    });

    test("Conduit's client hears all of it, also where it comes late", async () => {
      globalThis.EventSource = EventSource as typeof globalThis.EventSource;
      const channelId = crypto.randomUUID();
      const connect = async () => {
        const heard = { text: '', messages: 0, isClosed: false, isConnected: false };
        const client = new ConduitClient<{ text?: string }>({
          orgId: Number(place.orgId),
          startStreamUrl: `${place.url}/v1/organizations/${place.orgId}/streams`,
          startStreamData: { channel_id: channelId },
          onMessage({ text = '' }) {
            heard.text += text;
            heard.messages++;
          },
          onConnect: () => {
            heard.isConnected = true;
          },
          onClose: () => {
            heard.isClosed = true;
          },
        });
        await client.connect();
        await until('it is connected', () => heard.isConnected);
        return heard;
      };
      const first = await connect();
      let middle = first;
      await publishAnswer(place, channelId, async () => {
        middle = await connect();
      });
      const last = await connect();
      for (const heard of [first, middle, last]) {
        await until('it has heard the end', () => heard.isClosed, 30_000);
        expect(heard.text).toBe(WHOLE);
      }
      expect(last.messages).toBe(3);
    });
  });

  describe('with 50 messages retained', () => {
    let place: Place;
    beforeAll(async () => {
      place = await start({ STREAM_RETAIN_MESSAGES: '50', STREAM_RETAIN_SEC: '0' });
    });
    afterAll(() => place?.stop());

    test.each(LISTENERS)('%s: who comes late has the whole text, and comes back exactly', async (_name, open) => {
      const access = await newChannel(place);
      const early = await open(place, access);
      const { sent, ids } = await publishAnswer(place, access.channel_id);
      const late = await (await open(place, access)).ended();
      expect([late.texts.join(''), late.controls, late.heard.length]).toEqual([WHOLE, [], 5]);
      for (const { id, sequence } of late.heard.slice(0, -1)) {
        const resumed = await (await open(place, access, id)).ended();
        const missed = sent.slice(sequence + 1).map(({ payload }) => payload?.['text'] ?? '');
        expect([resumed.texts.join(''), resumed.controls]).toEqual([missed.join(''), []]);
      }
      await early.ended();
      expect([early.texts.join(''), early.controls]).toEqual([WHOLE, []]);
      // Within a piece, of which the messages are gone: that is said, and nothing is made up.
      const within = await (await open(place, access, ids[500])).ended();
      expect(within.controls).toEqual(['gap']);
      expect(WHOLE.endsWith(within.texts.join(''))).toBe(true);
    });
  });
});
