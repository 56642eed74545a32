import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  EventService,
  GetEventResponseSchema,
  ListEventsResponseSchema,
  ListOutcomesResponseSchema,
} from '#gen/tideway/events/v1/event_service_pb.ts';
import { type EventProject, newEventProject, readBack } from '../support/event-project.ts';
import { sendEvent } from '../support/event-sending.ts';
import { JsonApi } from '../support/json-api.ts';
import { type Story, startStory } from '../support/story.ts';
import { transports } from '../support/transports.ts';
import { until } from '../support/until.ts';

// EventService as its users have it: JSON by Envoy's transcoder, and typed, with the same answers.

const ORGANIZATION = '/v1/organizations/development';

let story: Story;
let api: JsonApi;
let one: EventProject;
let two: EventProject;
/** Of project one, in the order that they were sent. */
const ids: string[] = [];

beforeAll(async () => {
  story = await startStory();
  api = new JsonApi(story.url, story.development.api_token);
  [one, two] = [await newEventProject(story, api), await newEventProject(story, api)];
  for (const [level, release, environment] of [
    ['error', 'shop@1', 'test'],
    ['warning', 'shop@1', 'production'],
    ['fatal', 'shop@2', 'production'],
    ['error', 'shop@2', 'production'],
    ['info', 'shop@3', 'production'],
  ]) {
    const { id } = await sendEvent(one, {
      level,
      release,
      environment,
      user: { email: `ada${ids.length}@example.com` },
    });
    ids.push(id);
    await until('it is there', async () => (await api.get(`${one.path}/events/${id}`)).status === 200);
  }
  const { id } = await sendEvent(two, { release: 'other@1', message: 'of another project' });
  await until('it is there', async () => (await api.get(`${two.path}/events/${id}`)).status === 200);
});
afterAll(() => story?.stop());

async function listed(query: string, path = one.path): Promise<string[]> {
  const { events } = await api.fetch('GET', `${path}/events?${query}`);
  return events.map(({ id }: { id: string }) => id);
}

async function newToken(scopes: readonly string[], organization = ORGANIZATION, as = api): Promise<JsonApi> {
  const { token } = await as.fetch('POST', `${organization}/tokens`, { name: 'Test', scopes });
  return api.as(token);
}

describe('a list', () => {
  test('is newest first, by pages that continue where the one before ended', async () => {
    expect(await listed('')).toEqual(ids.toReversed());
    const pages: string[][] = [];
    for (let token = ''; ; ) {
      const page = await api.fetch('GET', `${one.path}/events?page_size=2&page_token=${token}`);
      pages.push(page.events.map(({ id }: { id: string }) => id));
      token = page.next_page_token;
      if (token === '') break;
    }
    expect(pages.map(({ length }) => length)).toEqual([2, 2, 1]);
    expect(pages.flat()).toEqual(ids.toReversed());
  });

  test('by level, release, environment, words and time', async () => {
    const [first = '', second = '', third = '', fourth = '', fifth = ''] = ids;
    expect(await listed('level=error')).toEqual([fourth, first]);
    expect(await listed('release=shop@2')).toEqual([fourth, third]);
    expect(await listed('environment=test')).toEqual([first]);
    expect(await listed('level=error&release=shop@1')).toEqual([first]);
    expect(await listed(`query=VALUEERROR%20${third.slice(0, 12)}`)).toEqual([third]);
    expect(await listed('query=ada1@example.com')).toEqual([second]);
    expect(await listed('category=transaction')).toEqual([]);
    const { event } = await api.fetch('GET', `${one.path}/events/${third}`);
    expect(await listed(`start_time=${event.receive_time}`)).toEqual([fifth, fourth, third]);
    expect(await listed(`end_time=${event.receive_time}`)).toEqual([second, first]);
  });

  test('of the whole organization has all projects', async () => {
    const { events } = await api.fetch('GET', `${ORGANIZATION}/events`);
    expect(events).toHaveLength(6);
    const projects = new Set(events.map(({ project_id: id }: { project_id: string }) => id));
    expect(projects).toEqual(new Set([one.projectId, two.projectId]));
    expect(await listed('query=another%20project', ORGANIZATION)).toHaveLength(1);
  });

  test('takes no token of another query, nor what is none', async () => {
    const { next_page_token: token } = await api.fetch('GET', `${one.path}/events?page_size=2`);
    for (const path of [
      `${one.path}/events?page_size=2&level=error&page_token=${token}`,
      `${two.path}/events?page_token=${token}`,
      `${ORGANIZATION}/events?page_token=${token}`,
      `${one.path}/events?page_token=nonsense`,
    ]) {
      expect((await api.get(path)).status, path).toBe(400);
    }
  });
});

describe('refused', () => {
  test('unknown parameters, and what is in the path already', async () => {
    for (const query of [
      'unknown=1',
      'levels=error',
      'organization=other',
      'project=1',
      'page_size=-1',
      'level=loud',
    ]) {
      expect((await api.get(`${one.path}/events?${query}`)).status, query).toBe(400);
    }
    expect((await api.get(`${one.path}/events/${ids[0]}?unknown=1`)).status).toBe(400);
    expect((await api.get(`${one.path}/events/nonsense`)).status).toBe(400);
    expect((await api.get(`${one.path}/outcomes?unknown=1`)).status).toBe(400);
  });

  test('organizations, projects and events that are not there, or of others', async () => {
    const operator = api.as(story.development.operator_token);
    const slug = 'foreign';
    await operator.fetch('POST', '/v1/organizations', { name: 'Foreign', slug });
    const stranger = await newToken(['events:read'], `/v1/organizations/${slug}`, operator);
    for (const path of [
      `${one.path}/events`,
      `${one.path}/events/${ids[0]}`,
      `${one.path}/outcomes`,
      `${ORGANIZATION}/events`,
    ]) {
      expect((await stranger.get(path)).status, path).toBe(404);
      const { status, json } = await stranger.get(path.replace('development', 'none'));
      expect([status, json.code]).toEqual([404, 5]);
    }
    expect((await api.get(`/v1/organizations/${slug}/events`)).status).toBe(404);
    expect((await api.get(`${one.path}/events/${'0'.repeat(32)}`)).status).toBe(404);
    // It is there, in another project.
    expect((await api.get(`${two.path}/events/${ids[0]}`)).status).toBe(404);
  });

  test('without a token, and without the scope', async () => {
    expect((await api.as(undefined).get(`${one.path}/events`)).status).toBe(401);
    const narrow = await newToken(['projects:read', 'organization:read']);
    for (const path of [
      `${one.path}/events`,
      `${one.path}/events/${ids[0]}`,
      `${one.path}/outcomes`,
      `${ORGANIZATION}/outcomes`,
    ]) {
      const { status, json } = await narrow.get(path);
      expect([status, json.code], path).toEqual([403, 7]);
      expect(JSON.stringify(json.details)).toContain('SCOPE_MISSING');
    }
    const enough = await newToken(['events:read']);
    expect((await enough.get(`${one.path}/events`)).status).toBe(200);
  });
});

test('outcomes: a series by hour and its sums, of a project and of the organization', async () => {
  await api.fetch('PATCH', one.path, { filters: { releases: ['bad@*'] } });
  await until('filtered once', async () => {
    await sendEvent(one, { release: 'bad@1' });
    const { totals } = await api.fetch('GET', `${one.path}/outcomes`);
    return totals.some(({ outcome }: { outcome: string }) => outcome === 'filtered');
  });
  const { counts, totals } = await api.fetch('GET', `${one.path}/outcomes`);
  const accepted = totals.find(({ outcome }: { outcome: string }) => outcome === 'accepted');
  expect(accepted).toMatchObject({ project_id: one.projectId, category: 'error', reason: '' });
  expect(accepted.hour ?? null).toBeNull();
  expect(totals.find(({ outcome }: { outcome: string }) => outcome === 'filtered')).toMatchObject({
    reason: 'release-version',
  });
  for (const { hour } of counts) expect(hour).toMatch(/^\d{4}-\d\d-\d\dT\d\d:00:00Z$/);
  const sum = (all: readonly { quantity: string }[]) => all.reduce((n, { quantity }) => n + Number(quantity), 0);
  expect(sum(counts)).toBe(sum(totals));
  const whole = await api.fetch('GET', `${ORGANIZATION}/outcomes?category=error`);
  expect(new Set(whole.totals.map(({ project_id: id }: { project_id: string }) => id))).toEqual(
    new Set([one.projectId, two.projectId]),
  );
  const past = await api.fetch('GET', `${ORGANIZATION}/outcomes?end_time=2020-01-01T00:00:00Z`);
  expect(past).toEqual({ counts: [], totals: [] });
});

test('an event that is nested deeply, and one of 900 KB, can be read', async () => {
  let nested: object = { bottom: true };
  for (let level = 0; level < 100; level++) nested = level % 2 === 0 ? { nested } : [nested];
  const deep = await sendEvent(one, { extra: { nested }, contexts: { deep: { nested } } });
  expect(deep.answer.status).toBe(200);
  expect(await readBack(api, one, deep.id)).toMatchObject({ id: deep.id, body: { platform: 'python' } });

  const values = Array.from({ length: 115 }, (_, n) => ({ type: `E${n}`, value: `\u0001"${'x'.repeat(7_800)}` }));
  const large = await sendEvent(one, { exception: { values } });
  expect(large.answer.status).toBe(200);
  await readBack(api, one, large.id);
  const { text, json } = await api.get(`${one.path}/events/${large.id}`);
  expect(json.event.body.exception.values.at(-1)).toEqual(values.at(-1));
  expect(text.length).toBeGreaterThan(900_000);
});

describe.for(transports)('typed by $name', ({ open }) => {
  const client = () => createClient(EventService, open(story.url));
  const headers = () => ({ Authorization: `Bearer ${story.development.api_token}` });
  const path = () => ({ organization: 'development', project: one.slug });

  test('the same answers', async () => {
    const event = ids[2] ?? '';
    const got = await client().getEvent({ ...path(), event }, { headers: headers() });
    expect(jsonOf(GetEventResponseSchema, got)).toEqual(await api.fetch('GET', `${one.path}/events/${event}`));
    const list = await client().listEvents({ ...path(), level: 'error', pageSize: 1 }, { headers: headers() });
    expect(jsonOf(ListEventsResponseSchema, list)).toEqual(
      await api.fetch('GET', `${one.path}/events?level=error&page_size=1`),
    );
    const outcomes = await client().listOutcomes(
      { organization: 'development', project: two.slug },
      { headers: headers() },
    );
    expect(jsonOf(ListOutcomesResponseSchema, outcomes)).toEqual(await api.fetch('GET', `${two.path}/outcomes`));
  });

  test('the same refusals', async () => {
    const failure = (asked: Promise<unknown>) =>
      asked.then(
        () => undefined,
        (error: unknown) => ConnectError.from(error).code,
      );
    const event = '0'.repeat(32);
    expect(await failure(client().getEvent({ ...path(), event }, { headers: headers() }))).toBe(Code.NotFound);
    expect(await failure(client().getEvent({ ...path(), event }))).toBe(Code.Unauthenticated);
    const tooMany = client().listEvents({ ...path(), pageSize: 1_001 }, { headers: headers() });
    expect(await failure(tooMany)).toBe(Code.InvalidArgument);
  });
});

/** As the JSON API says it. */
function jsonOf<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>) {
  return toJson(schema, message, { useProtoFieldName: true, alwaysEmitImplicit: true });
}
