import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BadRequestSchema, ErrorInfoSchema } from '#gen/google/rpc/error_details_pb.ts';
import { ControlService } from '#gen/tideway/control/v1/control_service_pb.ts';
import { State } from '#gen/tideway/control/v1/resources_pb.ts';
import { type Story, startStory } from '../support/story.ts';
import { transports } from '../support/transports.ts';

// The same calls in every protocol that clients speak, through the edge.
let story: Story;

beforeAll(async () => {
  story = await startStory();
});
afterAll(() => story?.stop());

describe.each(transports.map((kind) => [kind.name, kind] as const))('%s', (_, kind) => {
  const client = () => createClient(ControlService, kind.open(story.url));
  const auth = (token = story.development.api_token) => ({ headers: { authorization: `Bearer ${token}` } });
  const organization = 'development';

  test('a project and its key: made, changed, limited, disabled', async () => {
    const api = client();
    const { slug: project } = await api.createProject({ organization, create: { name: kind.name } }, auth());
    const { keys } = await api.listProjectKeys({ organization, project }, auth());
    const key = keys[0]?.publicKey ?? '';
    const rateLimit = { windowSec: 60, count: 5n };
    const limited = await api.updateProjectKey({ organization, project, key, update: { rateLimit } }, auth());
    expect(limited.rateLimit).toMatchObject(rateLimit);
    const cleared = await api.updateProjectKey(
      { organization, project, key, update: {}, updateMask: { paths: ['rate_limit'] } },
      auth(),
    );
    expect(cleared.rateLimit).toBeUndefined();
    const update = { state: State.DISABLED, etag: cleared.etag };
    const disabled = await api.updateProjectKey({ organization, project, key, update }, auth());
    expect(disabled.state).toBe(State.DISABLED);
    const error = await api.updateProjectKey({ organization, project, key, update }, auth()).catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.Aborted });
  });

  test('a refusal has its code and details', async () => {
    const create = { name: 'x', quotas: [{ id: '', categories: [] }] };
    const error = await client().createProject({ organization, create }, auth()).catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.InvalidArgument });
    const [details] = (error as ConnectError).findDetails(BadRequestSchema);
    expect(details?.fieldViolations).toMatchObject([{ field: 'create.quotas[0].id' }]);
    const none = await client().getOrganization({ organization: '2' }, auth()).catch(ConnectError.from);
    expect(none).toMatchObject({ code: Code.NotFound });
    const stranger = await client().listOrganizations({}, auth('twa_guess')).catch(ConnectError.from);
    expect((stranger as ConnectError).findDetails(ErrorInfoSchema)).toMatchObject([{ reason: 'API_TOKEN_INVALID' }]);
  });
});

test('JSON that is sent to the typed call is held to the contract, too', async () => {
  const response = await fetch(`${story.url}/tideway.control.v1.ControlService/ListProjects`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${story.development.api_token}` },
    body: '{"organization":"1","page_sice":1}',
  });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ code: 'invalid_argument' });
});

test('the service for other services is not passed on', async () => {
  const response = await fetch(`${story.url}/tideway.control.v1.TokenService/VerifyToken`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ token: story.development.api_token }),
  });
  expect(response.status).toBe(404);
});
