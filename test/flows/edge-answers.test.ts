import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { PublishService } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { ask } from '../support/raw-request.ts';
import { message, type Story, startStory } from '../support/story.ts';
import { transports } from '../support/transports.ts';

// The longest answers there are: Envoy holds those to publishers back until they are whole, and headers have a bound.
let story: Story;

beforeAll(async () => {
  story = await startStory({ PUBLISH_RATE_PER_SEC: '0' });
});
afterAll(() => story?.stop());

const headers = () => ({ authorization: `Bearer ${story.development.publish_token}` });
const batch = (more: object) => {
  const channelId = crypto.randomUUID();
  return Array.from({ length: 500 }, (_, sequence) => message({ channelId, sequence, ...more }));
};

describe.each(transports)('by $name', ({ open }) => {
  const client = () => createClient(PublishService, open(story.url));

  test('a batch in which nothing is right is the sender’s fault, and the first of it is told', async () => {
    const call = client().publishBatch({ messages: batch({ messageId: 'none' }) }, { headers: headers() });
    const error = ConnectError.from(await call.catch((thrown: unknown) => thrown));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toMatch(/^messages\[0\]\.message_id: .*; and 480 more$/);
  });

  test('a batch of which all is refused is answered one by one', async () => {
    const messages = batch({});
    for (const each of messages) each.phase = Phase.END;
    const { results } = await client().publishBatch({ messages }, { headers: headers() });
    expect(results.filter(({ result }) => result.case === 'error')).toHaveLength(499);
  });
});

describe('in JSON', () => {
  const send = (messageId: () => string) => {
    const channelId = crypto.randomUUID();
    const phase = 'PHASE_END';
    const messages = Array.from({ length: 500 }, () => ({
      channel_id: channelId,
      message_id: messageId(),
      phase,
      org_id: 1,
    }));
    return ask(`${story.url}/v1/messages:batchPublish`, {
      method: 'POST',
      headers: { ...headers(), 'content-type': 'application/json' },
      body: JSON.stringify({ messages }),
    });
  };

  test('a batch in which nothing is right is the sender’s fault', async () => {
    const { status, text } = await send(() => 'none');
    expect([status, JSON.parse(text)]).toMatchObject([
      400,
      { code: 3, message: expect.stringContaining('and 480 more') },
    ]);
  });

  test('a batch of which all is refused is answered one by one', async () => {
    const { status, text } = await send(() => crypto.randomUUID());
    expect([status, text.slice(0, 200)]).toEqual([200, expect.anything()]);
    expect(JSON.parse(text).results.filter((result: object) => 'error' in result)).toHaveLength(499);
  });
});
