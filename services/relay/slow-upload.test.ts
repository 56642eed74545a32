import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { sendText } from '#lib/server/http-route.ts';
import { readBody } from '#lib/server/node-http.ts';
import { Refusal } from '#lib/server/refusal.ts';
import type { ServiceParts } from '#lib/server/run-service.ts';
import { AUTH, EVENT_ID, startService } from './http-testing.ts';

const limits = { headersTimeoutMs: 100, requestTimeoutMs: 100 };
const EVENT = '{"type":"event"}\n{"message":"slow"}\n';
const ENVELOPE = `{"event_id":"${EVENT_ID}"}\n${EVENT}{"type":"attachment","filename":"a.bin"}\n${'x'.repeat(1000)}\n`;

/** Sends the head of a request and `sent` of its body. */
function begin(url: string, path: string, length: number, sent: string) {
  const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1' });
  onTestFinished(() => void socket.destroy());
  const headers = Object.entries({ Host: 'a', Connection: 'close', ...AUTH, 'Content-Length': length });
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.write(`POST ${path} HTTP/1.1\r\n${lines}\r\n${sent}`);
  return socket;
}

/** What others answer on the same port. */
const others: ServiceParts = {
  services: [],
  rpc: () => {},
  http: [
    {
      methods: ['POST'],
      path: /^\/(?:publish|api\/0\/relays)\//,
      cors: false,
      async handle({ request, response }) {
        await readBody(request, 1000, () => new Refusal('too_large'));
        sendText(response, 200, 'read');
      },
    },
  ],
};

test('an upload may last on a port that has 100 ms for everybody else', async () => {
  const { url, intake } = await startService({ limits, beside: [others] });
  const upload = begin(url, '/api/42/envelope/', ENVELOPE.length, '');
  for (let sent = 0; sent < ENVELOPE.length; sent += 400) {
    upload.write(ENVELOPE.slice(sent, sent + 400));
    // Begun after it, and cut before it goes on: what is no intake's, and what relays ask their upstream.
    for (const path of ['/publish/1/x', '/api/0/relays/projectconfigs/']) {
      expect(await text(begin(url, path, 10, 'abc'))).toContain('408 Request Timeout');
    }
  }
  expect(await text(upload)).toContain(EVENT_ID);
  expect(intake.only.envelope.items.map(({ type }) => type)).toEqual(['event', 'attachment']);
});

test('an upload that does not end is cut', async () => {
  const { url } = await startService({ limits, requestTimeoutMs: 200 });
  expect(await text(begin(url, '/api/42/envelope/', 1000, ENVELOPE.slice(0, 10)))).toContain('408 Request Timeout');
});
