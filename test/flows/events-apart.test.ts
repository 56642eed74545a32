import { afterAll, beforeAll, expect, test } from 'vitest';
import { auditOnceHandled } from '../support/event-audit.ts';
import { followProject } from '../support/event-followers.ts';
import { sendEvent } from '../support/event-sending.ts';
import { type EventsDeployment, type EventsProject, startEventsDeployment } from '../support/events-deployment.ts';
import { until } from '../support/until.ts';

// The services of an event's path apart, as processes that meet in Kafka, PostgreSQL and Redis, behind Envoy.
// EVENTS_RELAYS: how many relays.

const RELAYS = Number(process.env['EVENTS_RELAYS'] ?? 6);
const LIMIT = 20;
const EVENTS_EACH = 10;

let deployment: EventsDeployment;
let project: EventsProject;

beforeAll(async () => {
  deployment = await startEventsDeployment({ relays: RELAYS });
  project = await deployment.newProject('Apart');
}, 180_000);
afterAll(() => deployment?.stop());

test('an event is taken, stored, read back, and the books balance', async () => {
  const { api, edge } = deployment;
  const dsn = { url: edge.url, projectId: project.id, key: project.key };
  const sent = [await sendEvent(dsn, { release: 'apart@1' }), await sendEvent(dsn, { tags: { n: '2' } })];
  for (const { id, answer } of sent) {
    expect([answer.status, JSON.parse(answer.text)]).toEqual([200, { id }]);
    await until('it is there', async () => (await api.get(`${project.path}/events/${id}`)).status === 200);
  }
  const { event } = await api.fetch('GET', `${project.path}/events/${sent[0]?.id}`);
  expect(event).toMatchObject({ title: `ValueError: no ${sent[0]?.id}`, release: 'apart@1', platform: 'python' });
  const { exitCode, json } = await auditOnceHandled(deployment.env);
  expect([exitCode, json.balanced, json.events]).toMatchObject([0, true, { logged: 2, stored: 2, missing: 0 }]);
});

test('whoever listens to the stream of the project hears them at once', async () => {
  const { edge } = deployment;
  const dsn = { url: edge.url, projectId: project.id, key: project.key };
  using follower = await followProject(edge.url, undefined, project.organizationId, project.id);
  const ids = await Promise.all(Array.from({ length: 10 }, async () => (await sendEvent(dsn)).id));
  // And those of before, which the stream retains.
  await until('all are heard', () => follower.heard.length === 12);
  expect(follower.heard.map(({ event_id: id }) => id)).toEqual(expect.arrayContaining(ids));
});

test('relays share one count: never more than the limit is stored, and everything else has an outcome', async () => {
  const { api, relays, env } = deployment;
  const { path, id: projectId, key } = await deployment.newProject('Limited');
  // So long that no window ends in the middle.
  await api.fetch('PATCH', `${path}/keys/${key}`, { rate_limit: { window_sec: 86_400, count: LIMIT } });
  const sending = relays.flatMap(({ port }) =>
    Array.from({ length: EVENTS_EACH }, () => sendEvent({ url: `http://127.0.0.1:${port}`, projectId, key })),
  );
  const statuses = (await Promise.all(sending)).map(({ answer }) => answer.status);
  expect(statuses.filter((status) => status !== 200 && status !== 429)).toEqual([]);
  const expected = { accepted: LIMIT, rate_limited: statuses.length - LIMIT };
  await until(
    'all have an outcome',
    async () => {
      const { totals } = await api.fetch('GET', `${path}/outcomes`);
      const counted = totals.map(({ outcome, quantity }: Total) => [outcome, Number(quantity)]);
      expect(Object.fromEntries(counted)).toEqual(expected);
      return true;
    },
    20_000,
  );
  const { events } = await api.fetch('GET', `${path}/events?page_size=1000`);
  expect(events).toHaveLength(LIMIT);
  const { exitCode, json } = await auditOnceHandled(env);
  expect([exitCode, json.balanced]).toEqual([0, true]);
});

interface Total {
  readonly outcome: string;
  readonly quantity: string;
}
