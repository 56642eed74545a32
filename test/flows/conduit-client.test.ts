import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ConduitClient } from 'conduit-client';
import { EventSource } from 'eventsource';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { launchChromium } from '../support/chromium.ts';
import { published, type Story, startStory } from '../support/story.ts';
import { until } from '../support/until.ts';
import { startWire, type Wire } from '../support/wire.ts';

// Conduit's own client, unmodified: only the start URL is ours. In Node it needs an EventSource from npm; in Chromium it
// has the real one.
let story: Story;
let wire: Wire;

beforeAll(async () => {
  globalThis.EventSource = EventSource as typeof globalThis.EventSource;
  story = await startStory();
  wire = await startWire(story.edge.port);
});

afterAll(async () => {
  await wire?.stop();
  await story?.stop();
});

interface Told {
  readonly client: ConduitClient<{ n: number }>;
  readonly messages: { n: number }[];
  readonly happened: string[];
}

function conduitClient(
  channelId: string,
  more: { path?: string; startStreamData?: Record<string, unknown> } = {},
): Told {
  const messages: { n: number }[] = [];
  const happened: string[] = [];
  const client = new ConduitClient<{ n: number }>({
    orgId: 1,
    startStreamUrl: `${wire.url}${more.path ?? '/v1/organizations/1/streams'}`,
    startStreamData: { channel_id: channelId, ...more.startStreamData },
    onMessage: (message) => void messages.push(message),
    onConnect: () => void happened.push('connect'),
    onReconnect: () => void happened.push('reconnect'),
    onClose: () => void happened.push('close'),
    onError: (error) => void happened.push(`error: ${error.message}`),
  });
  return { client, messages, happened };
}

function send(channelId: string, phase: Phase, sequence: number, messageId?: string): Promise<string> {
  return published(story.url, story.development.publish_token, {
    channelId,
    phase,
    sequence,
    payload: { n: sequence },
    ...(messageId === undefined ? {} : { messageId }),
  });
}

describe("Conduit's client in Node", () => {
  test.for(['/v1/organizations/1/streams', '/v1/organizations/1/streams/'])(
    'hears a stream to its end, started at %s',
    async (path) => {
      const channelId = crypto.randomUUID();
      const { client, messages, happened } = conduitClient(channelId, { path });
      await client.connect();
      await until('it is connected', () => happened.includes('connect'));

      // The example of Conduit's documentation ends a stream with the id that it began with.
      const first = crypto.randomUUID();
      await send(channelId, Phase.START, 0, first);
      await send(channelId, Phase.DELTA, 1);
      await send(channelId, Phase.DELTA, 2);
      await send(channelId, Phase.END, 3, first);

      await until('it closes', () => happened.includes('close'));
      expect(messages).toEqual([{ n: 1 }, { n: 2 }]);
      expect(happened).toEqual(['connect', 'close']);
      expect(client.isConnected()).toBe(false);
    },
  );

  test('resumes by id after its connection was cut, with nothing lost or repeated', async () => {
    const channelId = crypto.randomUUID();
    const { client, messages, happened } = conduitClient(channelId);
    await client.connect();
    await send(channelId, Phase.DELTA, 1);
    const last = await send(channelId, Phase.DELTA, 2);
    await until('two messages arrive', () => messages.length === 2);

    wire.cut();
    await send(channelId, Phase.DELTA, 3);
    await until('it has reconnected', () => happened.includes('reconnect'));
    await send(channelId, Phase.DELTA, 4);
    await send(channelId, Phase.END, 5);

    await until('it closes', () => happened.includes('close'));
    expect(messages).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }]);
    const resumed = wire.requests().findLast((head) => head.includes('/events/1?') && head.includes(channelId));
    expect(resumed?.toLowerCase()).toContain(`\r\nlast-event-id: ${last}\r\n`);
  });

  test('resumes by the last_event_id in its URL when the application connects it again', async () => {
    const channelId = crypto.randomUUID();
    const { client, messages, happened } = conduitClient(channelId);
    await client.connect();
    await send(channelId, Phase.DELTA, 1);
    const last = await send(channelId, Phase.DELTA, 2);
    await until('two messages arrive', () => messages.length === 2);

    client.disconnect();
    await send(channelId, Phase.DELTA, 3);
    await client.connect();
    await send(channelId, Phase.END, 4);

    await until('it closes for good', () => happened.filter((what) => what === 'close').length === 2);
    expect(messages).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
    const resumed = wire.requests().findLast((head) => head.includes('/events/1?') && head.includes(channelId));
    expect(resumed).toContain(`&last_event_id=${last} HTTP/1.1`);
  });

  test('an ERROR is told and ends nothing', async () => {
    const channelId = crypto.randomUUID();
    const { client, messages, happened } = conduitClient(channelId);
    await client.connect();
    await send(channelId, Phase.ERROR, 1);
    await send(channelId, Phase.DELTA, 2);
    await send(channelId, Phase.END, 3);
    await until('it closes', () => happened.includes('close'));
    expect(happened).toContain('error: Stream error');
    expect(messages).toEqual([{ n: 2 }]);
  });

  test('may send whatever an application wants of its start URL', async () => {
    const channelId = crypto.randomUUID();
    const { client, messages } = conduitClient(channelId, {
      startStreamData: { prompt: 'Hello', options: { temperature: 0.5, tags: ['a', null] } },
    });
    await client.connect();
    await send(channelId, Phase.DELTA, 1);
    await until('the message arrives', () => messages.length === 1);
    client.disconnect();
  });
});

describe("Conduit's client in Chromium, on a page of another origin", () => {
  let browser: Browser;
  let site: Server;

  beforeAll(async () => {
    site = await startSite();
    browser = await launchChromium();
  });

  afterAll(async () => {
    await browser?.close();
    site?.close();
  });

  async function openPage(): Promise<{ page: Page; asked: string[] }> {
    const page = await browser.newPage();
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    await page.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}/`);
    return { page, asked };
  }

  /** An error's stack names the page's URL as its file, which vitest would look for on the disk. */
  async function evaluate<T = unknown>(page: Page, script: string): Promise<T> {
    return page.evaluate<T>(script).catch((error: Error) => {
      throw Object.assign(new Error(error.message), { stack: undefined });
    });
  }

  test('hears a stream to its end, over a cut', async () => {
    const { page } = await openPage();
    const channelId = crypto.randomUUID();
    await evaluate(page, `connect(${JSON.stringify(wire.url)}, ${JSON.stringify(channelId)})`);
    const told = () => evaluate<{ messages: { n: number }[]; happened: string[] }>(page, 'told');
    await send(channelId, Phase.START, 0);
    await send(channelId, Phase.DELTA, 1);
    await until('the first message arrives', async () => (await told()).messages.length === 1);
    wire.cut();
    await send(channelId, Phase.DELTA, 2);
    await until('it has reconnected', async () => (await told()).happened.includes('reconnect'));
    await send(channelId, Phase.END, 3);
    await until('it closes', async () => (await told()).happened.includes('close'));
    expect((await told()).messages).toEqual([{ n: 1 }, { n: 2 }]);
    await page.close();
  });

  test('an EventSource without any client stops after END, for good', async () => {
    const { page, asked } = await openPage();
    const channelId = crypto.randomUUID();
    const ids = [
      await send(channelId, Phase.DELTA, 1),
      await send(channelId, Phase.DELTA, 2),
      await send(channelId, Phase.END, 3),
    ];
    await evaluate(page, `listenPlainly(${JSON.stringify(wire.url)}, ${JSON.stringify(channelId)})`);
    await until('it is closed', async () => (await evaluate(page, 'plain.source?.readyState')) === 2);
    expect(await evaluate(page, 'plain.ids')).toEqual(ids);
    // It comes back once, as the protocol has it, and is told to stop.
    expect(asked.filter((url) => url.includes('/events/'))).toHaveLength(2);
    await page.close();
  });
});

/** An application's page. The client is served as npm has it; its hook for React is not used, so React is left out. */
async function startSite(): Promise<Server> {
  const client = await readFile(new URL(import.meta.resolve('conduit-client')), 'utf8');
  const html = `<!doctype html>
    <script type="importmap">{"imports": {"react": "/react.js"}}</script>
    <script type="module">
      import { ConduitClient } from '/conduit-client.js';
      window.told = { messages: [], happened: [] };
      window.connect = (edge, channelId) => new ConduitClient({
        orgId: 1,
        startStreamUrl: edge + '/v1/organizations/1/streams',
        startStreamData: { channel_id: channelId },
        onMessage: (message) => told.messages.push(message),
        onReconnect: () => told.happened.push('reconnect'),
        onClose: () => told.happened.push('close'),
      }).connect();
      window.plain = { ids: [] };
      window.listenPlainly = async (edge, channelId) => {
        const body = JSON.stringify({ channel_id: channelId });
        const headers = { 'Content-Type': 'application/json' };
        const response = await fetch(edge + '/v1/organizations/1/streams', { method: 'POST', headers, body });
        const { conduit } = await response.json();
        plain.source = new EventSource(conduit.url + '?' + new URLSearchParams(conduit));
        plain.source.addEventListener('stream', (event) => plain.ids.push(event.lastEventId));
      };
    </script>`;
  const files: Record<string, [type: string, text: string]> = {
    '/': ['text/html', html],
    '/conduit-client.js': ['text/javascript', client],
    '/react.js': ['text/javascript', 'export const [useEffect, useRef, useState] = [];'],
  };
  const server = createServer((request, response) => {
    const [type, text] = files[request.url ?? ''] ?? ['text/plain', ''];
    response.writeHead(text === '' ? 404 : 200, { 'Content-Type': type }).end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
