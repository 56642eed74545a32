import { readFileSync } from 'node:fs';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EventService } from '#gen/tideway/events/v1/event_service_pb.ts';
import { type EventProject, newEventProject, readBack } from '../support/event-project.ts';
import { authHeader, envelopeOf, eventEnvelope, eventJson, newEventId, sendEvent } from '../support/event-sending.ts';
import { JsonApi } from '../support/json-api.ts';
import { ask } from '../support/raw-request.ts';
import { type Story, startStory } from '../support/story.ts';
import { until } from '../support/until.ts';

// Everything that the intake takes and refuses, through the edge; and each event read back.

let story: Story;
let api: JsonApi;
let project: EventProject;

beforeAll(async () => {
  story = await startStory();
  api = new JsonApi(story.url, story.development.api_token);
  project = await newEventProject(story, api);
  const { id } = await sendEvent(project);
  // The first of all takes longer: threads start, and the project is looked up.
  await until('the process is warm', async () => (await api.get(`${project.path}/events/${id}`)).status === 200);
});
afterAll(() => story?.stop());

function post(path: string, body: Uint8Array | string, headers: Readonly<Record<string, string>> = {}) {
  const auth = { 'X-Sentry-Auth': authHeader(project.key) };
  return ask(`${story.url}/api/${project.projectId}/${path}`, {
    method: 'POST',
    headers: { ...auth, ...headers },
    body,
  });
}

function postAs(headers: Readonly<Record<string, string>>, path: string, body: Uint8Array) {
  return ask(`${story.url}/api/${project.projectId}/${path}`, { method: 'POST', headers, body });
}

const title = (id: string) => `ValueError: no ${id}`;

describe('an envelope', () => {
  test.for(['envelope/', 'envelope', '/envelope//'])('at %s, with each form of authentication', async (path) => {
    const { key, projectId } = project;
    const basic = Buffer.from(`${key}:`).toString('base64');
    const forms: readonly [Record<string, string>, string, object][] = [
      [{ 'X-Sentry-Auth': authHeader(key) }, '', {}],
      [{ Authorization: authHeader(key) }, '', {}],
      [{ Authorization: `Basic ${basic}` }, '', {}],
      [{}, `?sentry_version=7&sentry_key=${key}&sentry_client=test%2F1`, {}],
      [{}, '', { dsn: `https://${key}@example.com/${projectId}` }],
    ];
    const ids = await Promise.all(
      forms.map(async ([headers, query, header]) => {
        const id = newEventId();
        const body = envelopeOf(id, [{ header: { type: 'event' }, payload: eventJson(id) }], header);
        const answer = await postAs(headers, `${path}${query}`, body);
        expect([answer.status, JSON.parse(answer.text)]).toEqual([200, { id }]);
        return id;
      }),
    );
    for (const id of ids) expect(await readBack(api, project, id)).toMatchObject({ id, title: title(id) });
  });

  test.for([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
    ['identity', (bytes: Buffer) => bytes],
  ] as const)('in the encoding %s', async ([encoding, compress]) => {
    const id = newEventId();
    const answer = await post('envelope/', compress(eventEnvelope(id)), { 'Content-Encoding': encoding });
    expect(answer.status, answer.text).toBe(200);
    expect(await readBack(api, project, id)).toMatchObject({ title: title(id) });
  });

  test('with attachments, large and small, and what a user says', async () => {
    const id = newEventId();
    const small = Buffer.from('a few bytes\0\r\n');
    const large = Buffer.alloc(2_500_000);
    for (let n = 0; n < large.length; n++) large[n] = (n * 31 + (n >> 8)) & 0xff;
    const report = JSON.stringify({ event_id: id, name: 'Ada', email: 'ada@example.com', comments: 'it broke' });
    const file = (filename: string, bytes: Buffer) => ({
      header: { type: 'attachment', length: bytes.length, filename, content_type: 'application/octet-stream' },
      payload: bytes,
    });
    const payload = eventJson(id);
    const body = envelopeOf(id, [
      { header: { type: 'event', length: payload.length }, payload },
      ...[file('small.bin', small), file('large.bin', large)],
      { header: { type: 'user_report', length: report.length }, payload: report },
    ]);
    expect((await post('envelope/', body)).status).toBe(200);
    const event = await readBack(api, project, id);
    const read = await filesOf(event);
    expect(Object.keys(read).sort()).toEqual(['large.bin', 'small.bin']);
    expect(read['small.bin']?.equals(small)).toBe(true);
    expect(read['large.bin']?.equals(large)).toBe(true);
    await until('the report is counted', async () => (await accepted('feedback')) === 1);
  });
});

describe('the other endpoints', () => {
  test.for(['store/', 'store'])('%s by POST, plain and in base64, and by GET', async (path) => {
    const [plain, encoded, got] = [newEventId(), newEventId(), newEventId()];
    expect(JSON.parse((await post(path, eventJson(plain))).text)).toEqual({ id: plain });
    const base64 = deflateSync(eventJson(encoded)).toString('base64');
    expect(JSON.parse((await post(path, base64)).text)).toEqual({ id: encoded });
    const data = encodeURIComponent(eventJson(got));
    const query = `sentry_version=7&sentry_key=${project.key}&sentry_data=${data}`;
    const pixel = await ask(`${story.url}/api/${project.projectId}/${path}?${query}`);
    expect([pixel.status, pixel.header('content-type')]).toEqual([200, ['image/gif']]);
    for (const id of [plain, encoded, got])
      expect(await readBack(api, project, id)).toMatchObject({ title: title(id) });
  });

  test('the path of the oldest SDKs, without a project', async () => {
    const id = newEventId();
    const headers = { 'X-Sentry-Auth': authHeader(project.key) };
    const answer = await ask(`${story.url}/api/store/`, { method: 'POST', headers, body: eventJson(id) });
    expect(answer.status).toBe(200);
    expect(await readBack(api, project, id)).toMatchObject({ project_id: project.projectId });
  });

  test.for(['security/', 'security', 'csp-report/', 'csp-report'])('%s', async (path) => {
    const blocked = `${newEventId()}.example.com`;
    const report = {
      'document-uri': 'https://example.com/page',
      'violated-directive': "script-src 'self'",
      'effective-directive': 'script-src',
      'blocked-uri': `https://${blocked}/x.js`,
    };
    const query = `?sentry_key=${project.key}&sentry_release=csp%401`;
    const body = Buffer.from(JSON.stringify({ 'csp-report': report }));
    const answer = await postAs({ 'Content-Type': 'application/csp-report' }, `${path}${query}`, body);
    expect([answer.status, answer.text]).toEqual([200, '']);
    await until('it is found', async () => {
      const { events } = await api.fetch('GET', `${project.path}/events?query=${blocked}`);
      expect(events).toMatchObject([{ category: 'security', release: 'csp@1' }]);
      return true;
    });
    expect((await postAs({ 'Content-Type': 'text/html' }, `${path}${query}`, body)).status).toBe(415);
  });

  test.for(['attachments/', 'attachments'])('a file for an event, at …/%s', async (path) => {
    const { id } = await sendEvent(project);
    const bytes = Buffer.from(`by itself ${id}`);
    const form = new FormData();
    form.append('file', new Blob([bytes]), 'later.txt');
    const url = `${story.url}/api/${project.projectId}/events/${id}/${path}`;
    const headers = { 'X-Sentry-Auth': authHeader(project.key) };
    expect((await fetch(url, { method: 'POST', headers, body: form })).status).toBe(201);
    await until('it is there', async () => {
      const { 'later.txt': file } = await filesOf(await readBack(api, project, id));
      return file?.equals(bytes) === true;
    });
  });

  test.for(['minidump/', 'minidump'])('%s: an event with the dump', async (path) => {
    const dump = Buffer.concat([Buffer.from('MDMP'), Buffer.alloc(50_000, 7)]);
    const form = new FormData();
    form.append('sentry[release]', 'native@1');
    form.append('upload_file_minidump', new Blob([dump]), 'crash.dmp');
    const url = `${story.url}/api/${project.projectId}/${path}?sentry_key=${project.key}`;
    const answer = await fetch(url, { method: 'POST', body: form });
    expect(answer.status).toBe(200);
    const event = await readBack(api, project, await answer.text());
    expect(event).toMatchObject({ platform: 'native', level: 'fatal', release: 'native@1' });
    expect(event.attachments).toMatchObject([{ filename: 'crash.dmp', attachment_type: 'event.minidump' }]);
    expect((await filesOf(event))['crash.dmp']?.equals(dump)).toBe(true);
  });

  test('health', async () => {
    for (const kind of ['live', 'ready']) {
      const answer = await ask(`${story.url}/api/relay/healthcheck/${kind}/`);
      expect([answer.status, answer.text]).toEqual([200, '{"is_healthy":true}']);
    }
  });
});

describe('refused', () => {
  test('an unknown key: the first is taken, as nobody knows better; then none', async () => {
    const unknown = { ...project, key: newEventId() };
    expect((await sendEvent(unknown)).answer.status).toBe(200);
    await until('it is known to be unknown', async () => (await sendEvent(unknown)).answer.status === 403);
  });

  test('a disabled key at once, and taken again when it is enabled', async () => {
    const other = await newEventProject(story, api);
    expect((await sendEvent(other)).answer.status).toBe(200);
    const key = `${other.path}/keys/${other.key}`;
    const isAnswered = (status: number) => async () => (await sendEvent(other)).answer.status === status;
    await api.fetch('PATCH', key, { state: 'STATE_DISABLED' });
    await until('it is refused', isAnswered(403));
    await api.fetch('PATCH', key, { state: 'STATE_ACTIVE' });
    await until('it is taken', isAnswered(200));
  });

  test('the key of another project', async () => {
    const other = await newEventProject(story, api);
    expect((await sendEvent({ ...project, projectId: other.projectId })).answer.status).toBe(403);
  });

  test('an origin that may not send; a browser may read why', async () => {
    const shop = await newEventProject(story, api, { allowed_domains: ['shop.example.com'] });
    const from = async (origin: string) => {
      const headers = { 'X-Sentry-Auth': authHeader(shop.key), Origin: origin };
      const body = eventEnvelope(newEventId());
      return ask(`${story.url}/api/${shop.projectId}/envelope/`, { method: 'POST', headers, body });
    };
    await until('the project is known', async () => (await from('https://evil.example.com')).status === 403);
    const refused = await from('https://evil.example.com');
    expect(refused.header('access-control-allow-origin')).toEqual(['*']);
    expect(JSON.parse(refused.text)).toEqual({ detail: 'this origin may not send to this project', causes: [] });
    expect((await from('https://shop.example.com')).status).toBe(200);
  });

  test('what is too large, in one piece and compressed', async () => {
    const id = newEventId();
    const event = eventEnvelope(id, { extra: { text: 'x'.repeat(1_100_000) } });
    const answers = [await post('envelope/', event), await post('envelope/', gzipSync(event), GZIP)];
    for (const { status, text } of answers) {
      expect([status, JSON.parse(text)]).toEqual([
        413,
        { detail: 'the request is too large', causes: ['of the item event'] },
      ]);
    }
  });

  test('a bomb of ten gigabytes, for the price of its limit', async () => {
    const hundredMb = gzipSync(Buffer.alloc(100_000_000), { level: 1 });
    const bomb = Buffer.concat(Array.from({ length: 100 }, () => hundredMb));
    const beforeMb = peakMemoryMb(story.monolith.pid);
    for (const path of ['envelope/', 'store/', 'security/', 'store/', 'security/']) {
      const { status, text } = await post(path, bomb, { ...GZIP, 'Content-Type': 'application/json' });
      expect([status, JSON.parse(text).detail]).toEqual([413, 'the request is too large']);
    }
    expect(peakMemoryMb(story.monolith.pid) - beforeMb).toBeLessThan(450);
    expect((await sendEvent(project)).answer.status).toBe(200);
  });

  test.for([
    ['nothing', '', 400],
    ['no envelope', 'not json\n', 400],
    ['another version', '{}', 400],
  ] as const)('%s', async ([what, body, status]) => {
    const headers = {
      'X-Sentry-Auth': `Sentry sentry_key=${project.key}, sentry_version=${what === 'another version' ? 8 : 7}`,
    };
    const answer = await postAs(headers, 'envelope/', Buffer.from(body));
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.text)).toEqual({ detail: expect.any(String), causes: expect.any(Array) });
  });

  test('without a key, with two, and in an unknown encoding', async () => {
    const body = eventEnvelope(newEventId());
    expect((await postAs({}, 'envelope/', body)).status).toBe(401);
    expect((await post(`envelope/?sentry_key=${project.key}`, body)).status).toBe(401);
    expect((await post('envelope/', body, { 'Content-Encoding': 'compress' })).status).toBe(415);
  });

  test.for(['', 'nothing/', 'envelope/more', 'events/x/attachments/more'])('/api/…/%s is not there', async (path) => {
    const answer = await post(path, '{}');
    expect([answer.status, JSON.parse(answer.text).detail]).toEqual([404, 'there is no such path']);
  });

  test('/api and /api/ are not there', async () => {
    for (const path of ['/api', '/api/']) expect((await ask(`${story.url}${path}`)).status).toBe(404);
  });
});

test('a browser asks first, and is told what it may send and read', async () => {
  const answer = await ask(`${story.url}/api/${project.projectId}/envelope/?sentry_key=${project.key}`, {
    method: 'OPTIONS',
    headers: {
      Origin: 'https://shop.example.com',
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'content-type,x-sentry-auth',
    },
  });
  expect(answer.status).toBe(200);
  expect(answer.header('access-control-allow-origin')).toEqual(['*']);
  expect(answer.header('access-control-allow-methods')).toEqual(['POST']);
  expect(answer.header('access-control-max-age')).toEqual(['3600']);
  expect(answer.header('access-control-allow-headers')[0]).toMatch(/x-sentry-auth.*content-type.*content-encoding/);
  expect(answer.header('access-control-expose-headers')).toEqual(['x-sentry-error, x-sentry-rate-limits, retry-after']);
  expect(answer.header('cross-origin-resource-policy')).toEqual(['cross-origin']);
});

const GZIP = { 'Content-Encoding': 'gzip' };

interface Listed {
  readonly id: string;
  readonly attachments: readonly { readonly id: string; readonly filename: string }[];
}

/** What the attachments of an event are, by name, read by RPC. */
async function filesOf({ id: event, attachments }: Listed): Promise<Record<string, Buffer>> {
  const client = createClient(EventService, createGrpcTransport({ baseUrl: story.url }));
  const { organization, api_token: token } = story.development;
  const files: Record<string, Buffer> = {};
  for (const { id: attachment, filename } of attachments) {
    const request = { organization, project: project.slug, event, attachment };
    const chunks: Uint8Array[] = [];
    const headers = { Authorization: `Bearer ${token}` };
    for await (const { data } of client.readAttachment(request, { headers })) chunks.push(data);
    files[filename] = Buffer.concat(chunks);
  }
  return files;
}

async function accepted(category: string): Promise<number> {
  const { totals } = await api.fetch('GET', `${project.path}/outcomes?category=${category}`);
  return totals.reduce((sum: number, { quantity }: { quantity: string }) => sum + Number(quantity), 0);
}

function peakMemoryMb(pid: number): number {
  return Number(/VmHWM:\s*(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}
