import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Story, type StreamAccess, startStory } from '../support/story.ts';

// The start URL, which Conduit's client and every page of ours posts to.
const CHANNEL_ID = 'f3b5c1de-0f0a-4c58-9a3c-2f1d7f4f9c11';

let story: Story;

beforeAll(async () => {
  story = await startStory();
});
afterAll(() => story?.stop());

/** The answer's only member. */
async function accessIn(response: Response): Promise<StreamAccess> {
  const { conduit, ...others } = (await response.json()) as { conduit: StreamAccess };
  expect(others).toEqual({});
  return conduit;
}

const start = (path: string, body: unknown) =>
  fetch(`${story.url}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });

test.for(['/v1/organizations/1/streams', '/v1/organizations/1/streams/'])(
  'answers exactly what the client expects at %s',
  async (path) => {
    const response = await start(path, { org_id: 1 });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/json');
    const answer = await accessIn(response);
    expect(answer).toEqual({
      token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
      channel_id: expect.stringMatching(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
      url: `${story.url}/events/1`,
    });
    const claims = JSON.parse(Buffer.from(answer.token.split('.')[1] ?? '', 'base64url').toString());
    expect(claims).toMatchObject({ org_id: 1, channel_id: answer.channel_id });
  },
);

test('takes the channel it is given, and makes a new one each time otherwise', async () => {
  const channelId = crypto.randomUUID();
  const given = await accessIn(await start('/v1/organizations/1/streams', { channel_id: channelId }));
  expect(given.channel_id).toBe(channelId);
  const one = await accessIn(await start('/v1/organizations/1/streams', {}));
  const other = await accessIn(await start('/v1/organizations/1/streams', {}));
  expect(one.channel_id).not.toBe(other.channel_id);
});

test('makes one token for several channels', async () => {
  const channelIds = [crypto.randomUUID(), crypto.randomUUID().toUpperCase()];
  const lower = channelIds.map((id) => id.toLowerCase());
  const { token, ...given } = await accessIn(await start('/v1/organizations/1/streams', { channel_ids: channelIds }));
  expect(given).toEqual({ url: `${story.url}/events/1`, channel_ids: lower });
  const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  expect(claims).toMatchObject({ org_id: 1, channel_ids: lower });
  expect(claims).not.toHaveProperty('channel_id');
});

test.for([
  ['an organization that is not the path’s', { org_id: 2 }, "org_id: must be the path's organization"],
  [
    'the same channel twice',
    { channel_ids: [CHANNEL_ID, CHANNEL_ID.toUpperCase()] },
    'channel_ids: must be different channels',
  ],
  [
    'one channel and several',
    { channel_id: CHANNEL_ID, channel_ids: [CHANNEL_ID] },
    'channel_ids: are instead of channel_id',
  ],
  ['a channel that is none', { channel_id: 'x' }, 'channel_id: must be a valid UUID'],
] as const)('refuses %s', async ([, body, problem]) => {
  const response = await start('/v1/organizations/1/streams', body);
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({
    code: 3,
    message: problem,
    details: [
      { '@type': 'type.googleapis.com/google.rpc.BadRequest', field_violations: [{ field: problem.split(':')[0] }] },
      { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'INVALID_ARGUMENT' },
    ],
  });
});

test.for([
  '/v1/organizations/0/streams',
  '/v1/organizations/acme/streams',
  '/v1/organizations/18446744073709551616/streams',
  '/v1/organizations/-1/streams',
])('refuses an organization that can not be: %s', async (path) => {
  const response = await start(path, {});
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ code: 3, message: expect.stringContaining('organization: ') });
});

test('takes no organization but the path’s, wherever else one is written', async () => {
  for (const [path, body] of [
    ['/v1/organizations/1/streams', { organization: '2' }],
    ['/v1/organizations/1/streams?organization=2', {}],
    ['/v1/organizations/1/streams/?organization=2', {}],
    ['/v1/organizations/1/streams?org_id=2', {}],
    ['/v1/organizations/1/streams?%6frganization=2', {}],
  ] as const) {
    const response = await start(path, body);
    expect([path, response.status]).toEqual([path, 400]);
    expect(await response.json()).toMatchObject({ code: 3 });
  }
});

test('says what is wrong with a body that is no JSON', async () => {
  const response = await start('/v1/organizations/1/streams', '{"org_id": ');
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ code: 3, message: expect.any(String) });
});

test('is open in development, with a token of any kind or none', async () => {
  for (const token of [undefined, story.development.api_token, 'anything']) {
    const response = await fetch(`${story.url}/v1/organizations/1/streams`, {
      method: 'POST',
      headers: token === undefined ? {} : { Authorization: `Bearer ${token}` },
    });
    expect(response.status).toBe(200);
  }
});
