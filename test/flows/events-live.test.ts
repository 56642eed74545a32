import { afterAll, beforeAll, expect, test } from 'vitest';
import { projectChannelId } from '#lib/ids/project-channel.ts';
import { followProject } from '../support/event-followers.ts';
import { sendEvent } from '../support/event-sending.ts';
import { JsonApi } from '../support/json-api.ts';
import { type Story, startStory } from '../support/story.ts';
import { until } from '../support/until.ts';

// Whoever listens to a project's stream hears its accepted events. (events-apart.test.ts has the same of services apart.)

let story: Story;
let api: JsonApi;

beforeAll(async () => {
  story = await startStory();
  api = new JsonApi(story.url, story.development.api_token);
});
afterAll(() => story?.stop());

test('accepted events are heard at once, each once, in short; what is refused is not', async () => {
  const { dsn: given, org_id: organizationId, api_token: token } = story.development;
  const { username: key, pathname } = new URL(given);
  const projectId = pathname.slice(1);
  const dsn = { url: story.url, projectId, key };
  // The first of all takes longer: threads start, and the project is looked up.
  const early = await sendEvent(dsn);
  const earlyPath = `/v1/organizations/${organizationId}/projects/${projectId}/events/${early.id}`;
  await until('the process is warm', async () => (await api.get(earlyPath)).status === 200);
  using follower = await followProject(story.url, token, String(organizationId), projectId);
  expect(follower.channelId).toBe(projectChannelId(BigInt(organizationId), BigInt(projectId)));

  await until('what the stream retains is heard', () => follower.heard.length === 1);
  const first = await sendEvent(dsn, { release: 'live@1', environment: 'test', level: 'fatal' });
  await until('the first is heard', () => follower.heard.length === 2);
  expect(follower.heard[1]).toMatchObject({
    event_id: first.id,
    project_id: projectId,
    level: 'fatal',
    title: `ValueError: no ${first.id}`,
    release: 'live@1',
    environment: 'test',
    platform: 'python',
  });

  const ids = await Promise.all(Array.from({ length: 20 }, async () => (await sendEvent(dsn)).id));
  await until('all are heard', () => follower.heard.length >= 22);
  // The same again is a duplicate: it is not accepted.
  expect((await sendEvent(dsn, {}, first.id)).answer.status).toBe(200);
  const last = await sendEvent(dsn);
  await until('the last is heard', () => follower.heard.some(({ event_id: id }) => id === last.id));
  const heard = follower.heard.map(({ event_id: id }) => id).sort();
  expect(heard).toEqual([early.id, first.id, ...ids, last.id].sort());
});

test('a listener without the right token, and one of another organization, hear nothing', async () => {
  const channel = projectChannelId(1n, 1n);
  const refused = await fetch(`${story.url}/events/1?channel_id=${channel}`);
  expect(refused.status).toBe(401);
  const elsewhere = await api.call('POST', '/v1/organizations/2/streams', { channel_id: channel });
  const { token } = elsewhere.json.conduit;
  expect((await fetch(`${story.url}/events/1?channel_id=${channel}&token=${token}`)).status).toBe(403);
});
