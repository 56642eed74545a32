import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { AUTH, EVENT_ID, KEY, startEndpoint } from './http-testing.ts';

const BOUNDARY = '----------------------------a1b2';
const FORM = { ...AUTH, 'content-type': `multipart/form-data; boundary=${BOUNDARY}` };
const DUMP = `MDMP\x93\xa7${'\0'.repeat(100)}\r\n--not the end`;

interface Part {
  readonly name: string;
  readonly value: string;
  readonly filename?: string;
  readonly type?: string;
}

const dump: Part = { name: 'upload_file_minidump', value: DUMP, filename: 'a.dmp', type: 'application/octet-stream' };

function form(...parts: readonly Part[]): Buffer {
  const texts = parts.map(({ name, value, filename, type }) => {
    const file = filename === undefined ? '' : `; filename="${filename}"`;
    const content = type === undefined ? '' : `Content-Type: ${type}\r\n`;
    return `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n${content}\r\n${value}\r\n`;
  });
  return Buffer.from(`${texts.join('')}--${BOUNDARY}--\r\n`, 'latin1');
}

async function crash(...parts: readonly Part[]) {
  const endpoint = await startEndpoint();
  const answer = await endpoint.post('/api/42/minidump/', form(...parts), FORM);
  const [event, ...attachments] = endpoint.intake.received[0]?.envelope.items ?? [];
  return {
    answer,
    endpoint,
    event:
      event === undefined ? undefined : (JSON.parse(Buffer.from(event.payload).toString()) as Record<string, unknown>),
    attachments,
  };
}

test('becomes an event with attachments, and is answered with its id as crash reporters show it', async () => {
  const log: Part = { name: 'log', value: 'a\r\nb', filename: 'app.log', type: 'text/plain' };
  const { answer, endpoint, event, attachments } = await crash(
    {
      name: 'sentry',
      value: `{"event_id":"${EVENT_ID}","release":"app@1","exception":{"values":[{"type":"SIGSEGV"}]}}`,
    },
    dump,
    { name: 'guid', value: '42' },
    log,
  );
  expect(answer.status).toBe(200);
  expect(answer.header('content-type')).toEqual(['text/plain; charset=utf-8']);
  expect(answer.text).toBe('9ec79c33-ec99-42ab-8353-589fcb2e04dc');
  expect(endpoint.intake.only.envelope.eventId).toBe(EVENT_ID);
  expect(event).toEqual({
    event_id: EVENT_ID,
    platform: 'native',
    level: 'fatal',
    release: 'app@1',
    exception: { values: [{ type: 'SIGSEGV' }] },
    extra: { guid: '42' },
  });
  expect(attachments).toMatchObject([
    {
      type: 'attachment',
      filename: 'a.dmp',
      contentType: 'application/octet-stream',
      attachmentType: 'event.minidump',
    },
    { type: 'attachment', filename: 'app.log', contentType: 'text/plain', attachmentType: 'event.attachment' },
  ]);
  expect(attachments.map(({ payload }) => Buffer.from(payload).toString('latin1'))).toEqual([DUMP, 'a\r\nb']);
});

test('without fields, is a native crash', async () => {
  const { answer, endpoint, event } = await crash(dump);
  expect(answer.text.replaceAll('-', '')).toBe(endpoint.intake.only.envelope.eventId);
  expect(event).toMatchObject({ platform: 'native', level: 'fatal', exception: { values: [{ type: 'Minidump' }] } });
});

test('fields name parts of the event', async () => {
  const { event } = await crash(
    { name: 'sentry[release]', value: 'app@1' },
    { name: 'sentry[tags][os]', value: 'linux' },
    { name: 'sentry[tags][gpu]', value: 'none' },
    { name: 'sentry[__proto__][polluted]', value: 'x' },
    { name: 'sentry[extra][own]', value: 'y' },
    { name: '__proto__', value: 'z' },
    { name: 'sentry[', value: 'kept' },
    dump,
  );
  expect(event).toMatchObject({ release: 'app@1', tags: { os: 'linux', gpu: 'none' } });
  expect(event?.['extra']).toEqual(JSON.parse('{"__proto__":"z","sentry[":"kept","own":"y"}'));
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
});

test('a field in pieces is one', async () => {
  const { event } = await crash(
    { name: 'sentry__2', value: '"app@1"}' },
    { name: 'sentry__1', value: '{"release":' },
    dump,
  );
  expect(event).toMatchObject({ release: 'app@1' });
});

test('what can not be read is kept', async () => {
  const { answer, event } = await crash({ name: 'sentry', value: '{broken' }, dump);
  expect([answer.status, event?.['extra']]).toEqual([200, { sentry: '{broken' }]);
});

test('the dump itself, and compressed', async () => {
  const endpoint = await startEndpoint();
  const raw = Buffer.from(DUMP, 'latin1');
  const type = { ...AUTH, 'content-type': 'application/octet-stream' };
  expect((await endpoint.post('/api/42/minidump/', raw, type)).status).toBe(200);
  expect(
    (await endpoint.post('/api/42/minidump/', gzipSync(raw), { ...type, 'content-encoding': 'gzip' })).status,
  ).toBe(200);
  expect(
    (await endpoint.post('/api/42/minidump/', gzipSync(form(dump)), { ...FORM, 'content-encoding': 'gzip' })).status,
  ).toBe(200);
  expect((await endpoint.post(`/api/42/minidump/?sentry_key=${KEY}`, raw, {})).status).toBe(200);
  for (const { envelope } of endpoint.intake.received) {
    expect(envelope.items.map(({ type: each, payload }) => [each, payload.byteLength > 100])).toEqual([
      ['event', true],
      ['attachment', true],
    ]);
  }
});

test.each([
  [400, 'missing_minidump_upload', form({ name: 'sentry', value: '{}' })],
  [400, 'invalid_minidump', form({ ...dump, value: 'ELF' })],
  [400, 'invalid_minidump', form({ ...dump, value: '' })],
  [400, 'invalid_multipart', form(dump).subarray(0, 200)],
  [400, 'invalid_multipart', Buffer.from('nothing of a form')],
  [400, 'invalid_multipart', Buffer.alloc(0)],
  [413, 'too_large:attachment', form(dump, ...Array.from({ length: 31 }, (_, n) => ({ ...dump, name: `file${n}` })))],
  [413, 'too_large:attachment', form(dump, ...Array.from({ length: 30 }, (_, n) => ({ ...dump, name: `file${n}` })))],
  [
    413,
    'too_large:form_data',
    form(dump, ...Array.from({ length: 501 }, (_, n) => ({ name: `field${n}`, value: '' }))),
  ],
  [413, 'too_large:form_data', form(dump, { name: 'sentry', value: 'x'.repeat(1024 * 1024 + 1) })],
  [413, 'too_large:event', form(dump, ...['a', 'b'].map((name) => ({ name, value: 'x'.repeat(600_000) })))],
])('%i %s', async (status, reason, body) => {
  const endpoint = await startEndpoint();
  expect((await endpoint.post('/api/42/minidump/', body, FORM)).status).toBe(status);
  expect(endpoint.invalid).toMatchObject([{ reason }]);
  expect([endpoint.intake.received, endpoint.errors]).toEqual([[], []]);
});

test('a form without a boundary is refused', async () => {
  const endpoint = await startEndpoint();
  const type = { ...AUTH, 'content-type': 'multipart/form-data' };
  expect((await endpoint.post('/api/42/minidump/', form(dump), type)).status).toBe(400);
});

test('all of a form is held to the limit of an envelope', async () => {
  const endpoint = await startEndpoint({ limits: { maxEnvelopeBytes: 1000 } });
  const large = { ...dump, value: DUMP + 'x'.repeat(1000) };
  expect((await endpoint.post('/api/42/minidump/', [form(large)], FORM)).status).toBe(413);
  expect(
    (await endpoint.post('/api/42/minidump/', gzipSync(form(large)), { ...FORM, 'content-encoding': 'gzip' })).status,
  ).toBe(413);
});

describe('attachments for an event', () => {
  const path = `/api/42/events/${EVENT_ID}/attachments/`;

  test('as a form', async () => {
    const endpoint = await startEndpoint();
    const files = [
      dump,
      { name: 'b', value: 'text', filename: 'b.txt', type: 'text/plain' },
      { name: 'c', value: 'field' },
    ];
    const answer = await endpoint.post(path, form(...files), FORM);
    expect([answer.status, answer.text]).toEqual([201, '']);
    expect(endpoint.intake.only.envelope).toMatchObject({
      eventId: EVENT_ID,
      items: [
        { type: 'attachment', filename: 'a.dmp', attachmentType: 'event.attachment' },
        { type: 'attachment', filename: 'b.txt', attachmentType: 'event.attachment' },
      ],
    });
  });

  test('as it is, for an id with hyphens', async () => {
    const endpoint = await startEndpoint();
    const hyphens = path.replace(EVENT_ID, '9EC79C33-ec99-42ab-8353-589fcb2e04dc').slice(0, -1);
    expect((await endpoint.post(hyphens, 'bytes', { ...AUTH, 'content-type': 'text/plain' })).status).toBe(201);
    expect(endpoint.intake.only.envelope).toMatchObject({ eventId: EVENT_ID, items: [{ contentType: 'text/plain' }] });
  });

  test.each([
    [400, path.replace(EVENT_ID, 'x'), form(dump), FORM],
    [400, path, form({ name: 'a', value: 'b' }), FORM],
    [400, path, '', AUTH],
    [401, path, 'bytes', {}],
  ])('%i', async (status, to, body, headers) => {
    expect((await (await startEndpoint()).post(to, body, headers)).status).toBe(status);
  });

  test('each is held to its limit', async () => {
    const endpoint = await startEndpoint({ limits: { maxAttachmentBytes: 1000 } });
    expect((await endpoint.post(path, 'x'.repeat(1000))).status).toBe(201);
    expect((await endpoint.post(path, 'x'.repeat(1001))).status).toBe(413);
    expect((await endpoint.post(path, form({ ...dump, value: 'x'.repeat(1001) }), FORM)).status).toBe(413);
  });
});

test('an event that nobody can read is kept as text: the crash is told all the same', async () => {
  const deep = `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  const { answer, event, attachments, endpoint } = await crash({ name: 'sentry', value: deep }, dump);
  expect([answer.status, endpoint.errors]).toEqual([200, []]);
  expect(event).toMatchObject({ platform: 'native', extra: { sentry: deep } });
  expect(attachments).toHaveLength(1);
});

test('a form that is cut anywhere is answered', async () => {
  const whole = form({ name: 'guid', value: '42' }, dump, { name: 'log', value: 'a\r\nb', filename: 'app.log' });
  const endpoint = await startEndpoint();
  for (let length = 1; length < whole.length; length += 1) {
    const { status } = await endpoint.post('/api/42/minidump/', whole.subarray(0, length), FORM);
    // The last line may lack its end.
    expect([status, length]).toEqual([length < whole.length - 2 ? 400 : 200, length]);
  }
  expect(endpoint.errors).toEqual([]);
});

test('a form whose sender goes in the middle of it leaves nothing behind', async () => {
  const whole = form({ name: 'guid', value: '42' }, dump, { name: 'log', value: 'a\r\nb', filename: 'app.log' });
  const endpoint = await startEndpoint();
  const key = FORM['x-sentry-auth'];
  for (let length = 0; length < whole.length; length += 7) {
    const socket = connect(endpoint.port, '127.0.0.1');
    const closed = new Promise((resolve) => socket.on('close', resolve));
    socket.on('error', () => {});
    socket.write(
      `POST /api/42/minidump/ HTTP/1.1\r\nHost: a\r\nX-Sentry-Auth: ${key}\r\nContent-Type: ${FORM['content-type']}\r\nContent-Length: ${whole.length}\r\n\r\n`,
    );
    socket.write(whole.subarray(0, length), () => socket.destroy());
    await closed;
  }
  expect((await endpoint.post('/api/42/minidump/', whole, FORM)).status).toBe(200);
  expect([endpoint.intake.received.length, endpoint.errors, endpoint.invalid]).toEqual([1, [], []]);
});
