import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DescMessage, DescMethodUnary, JsonObject } from '@bufbuild/protobuf';
import { fromJson } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ControlService } from '#gen/tideway/control/v1/control_service_pb.ts';
import {
  ApiTokenSchema,
  InvitationSchema,
  MemberSchema,
  OrganizationSchema,
  ProjectKeySchema,
  ProjectSchema,
} from '#gen/tideway/control/v1/resources_pb.ts';
import { SCOPES } from '#lib/auth/scopes.ts';
import { openStore } from '#lib/store/open-store.ts';
import { type HttpForm, httpFormsOf } from '../../envoy/json-paths.ts';
import { type JsonAnswer, JsonApi } from '../support/json-api.ts';
import { type Story, startStory } from '../support/story.ts';

// Two organizations, and everybody's tokens at every call there is. The calls are read from the contract: a new one is
// tried as well, and one that is not understood here fails.

/** Calls that are about no organization of the path: each has a test of its own below. */
const WITHOUT_ORGANIZATION = ['CreateOrganization', 'ListOrganizations', 'ListRegions'];

/** A body that the contract's rules let pass, for every message that is one. */
const BODIES: readonly (readonly [DescMessage, JsonObject])[] = [
  [OrganizationSchema, { name: 'Taken over' }],
  [ProjectSchema, { name: 'Taken over' }],
  [ProjectKeySchema, { name: 'Taken over' }],
  [MemberSchema, { role: 'ROLE_OWNER' }],
  [InvitationSchema, { email: 'intruder@example.com', role: 'ROLE_OWNER' }],
  [ApiTokenSchema, { name: 'Taken over', scopes: ['projects:read'] }],
];

/** What an organization has, by the names of path variables. */
type Things = Readonly<Record<string, string>>;

interface Tenant {
  readonly things: Things;
  /** With every scope. */
  readonly token: string;
  /** With every scope but the ones that a call could need: it starts streams. */
  readonly narrowToken: string;
}

const forms = httpFormsOf(ControlService).filter(({ method }) => !WITHOUT_ORGANIZATION.includes(method.name));
let dataDir: string;
let story: Story;
let operator: JsonApi;
let acme: Tenant;
let other: Tenant;
/** Of things that are not there at all. */
let missing: Things;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'tideway-'));
  story = await startStory({ TIDEWAY_DATA_DIR: dataDir });
  operator = new JsonApi(story.url, story.development.operator_token);
  acme = await newTenant('Acme');
  other = await newTenant('Other');
  missing = {
    organization: 'nobody-has-this',
    project: '999999',
    key: 'f'.repeat(32),
    member: randomUUID(),
    invitation: randomUUID(),
    token: randomUUID(),
  };
});
afterAll(async () => {
  await story?.stop();
  await rm(dataDir, { recursive: true, force: true });
});

async function newTenant(name: string): Promise<Tenant> {
  const { slug, id } = await operator.fetch('POST', '/v1/organizations', { name });
  const root = `/v1/organizations/${slug}`;
  const project = await operator.fetch('POST', `${root}/projects`, { name: `${name} app` });
  const { keys } = await operator.fetch('GET', `${root}/projects/${project.slug}/keys`);
  const invitation = await operator.fetch('POST', `${root}/invitations`, {
    email: `${slug}@example.com`,
    role: 'ROLE_MEMBER',
  });
  const token = await operator.fetch('POST', `${root}/tokens`, { name: 'all', scopes: SCOPES });
  const narrow = await operator.fetch('POST', `${root}/tokens`, { name: 'narrow', scopes: ['streams:start'] });
  return {
    things: {
      organization: slug,
      project: project.slug,
      key: keys[0].public_key,
      member: await newMember(BigInt(id), `member@${slug}.example.com`),
      invitation: invitation.id,
      token: token.id,
    },
    token: token.token,
    narrowToken: narrow.token,
  };
}

/** People join by invitations and passwords, which are not this story's. */
async function newMember(organizationId: bigint, email: string): Promise<string> {
  const store = await openStore({ dataDir });
  try {
    const { id } = await store.users.create('system', { email, name: 'Ada' });
    await store.members.add('system', organizationId, id, 'owner');
    return id;
  } finally {
    await store.close();
  }
}

function bodyOf({ method, body }: HttpForm): JsonObject | undefined {
  if (body === '' || body === '*') return body === '' ? undefined : {};
  const message = method.input.fields.find(({ name }) => name === body)?.message;
  const known = BODIES.find(([schema]) => schema.typeName === message?.typeName);
  if (known === undefined) throw new Error(`say in BODIES what ${method.name} takes`);
  return known[1];
}

function pathOf({ template }: HttpForm, things: Things): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = things[name];
    if (value === undefined) throw new Error(`say what a ${name} is`);
    return value;
  });
}

function ask(form: HttpForm, things: Things, token: string | undefined): Promise<JsonAnswer> {
  return new JsonApi(story.url, token).call(form.verb, pathOf(form, things), bodyOf(form));
}

const variablesOf = ({ template }: HttpForm) => [...template.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);

/** What a stranger's attempts must leave as it is. */
async function stateOf({ things }: Tenant): Promise<unknown> {
  const root = `/v1/organizations/${things['organization']}`;
  const { audit_entries: entries } = await operator.fetch('GET', `${root}/audit_entries?page_size=1000`);
  return entries;
}

test('the calls that are about no organization of the path are known', () => {
  const found = ControlService.methods.filter(({ input }) => !input.fields.some(({ name }) => name === 'organization'));
  expect(found.map(({ name }) => name).sort()).toEqual(WITHOUT_ORGANIZATION);
  expect(httpFormsOf(ControlService).length).toBe(ControlService.methods.length);
});

describe.each(forms.map((form) => [form.method.name, form] as const))('%s', (_, form) => {
  test('a foreign organization is answered exactly as one that is not there', async () => {
    const before = await stateOf(acme);
    const foreign = await ask(form, acme.things, other.token);
    const none = await ask(form, { ...acme.things, organization: missing['organization'] ?? '' }, other.token);
    expect([foreign.status, foreign.json.code]).toEqual([404, 5]);
    expect(foreign.text).toBe(none.text);
    const narrow = await ask(form, acme.things, other.narrowToken);
    expect(narrow.text).toBe(none.text);
    expect(await stateOf(acme)).toEqual(before);
  });

  test('in one’s own organization, what belongs to another is answered exactly as what is not there', async () => {
    const before = await stateOf(acme);
    for (const name of variablesOf(form).filter((variable) => variable !== 'organization')) {
      const foreign = await ask(form, { ...other.things, [name]: acme.things[name] ?? '' }, other.token);
      const none = await ask(form, { ...other.things, [name]: missing[name] ?? '' }, other.token);
      expect([name, foreign.status, foreign.json.code]).toEqual([name, 404, 5]);
      expect(foreign.text).toBe(none.text);
    }
    expect(await stateOf(acme)).toEqual(before);
  });

  test('a scope too small is refused, whether the thing is there or not', async () => {
    const before = await stateOf(other);
    const there = await ask(form, other.things, other.narrowToken);
    expect([there.status, there.json.code]).toEqual([403, 7]);
    expect(there.json.details).toMatchObject([{ reason: 'SCOPE_MISSING' }]);
    const { organization = '' } = other.things;
    const none = await ask(form, { ...missing, organization }, other.narrowToken);
    expect(none.text).toBe(there.text);
    expect(await stateOf(other)).toEqual(before);
  });

  test('nobody, and whoever has a token that is none, is not let in', async () => {
    const before = await stateOf(other);
    for (const [token, reason] of [
      [undefined, 'MISSING_AUTHORIZATION'],
      ['twa_guess', 'API_TOKEN_INVALID'],
      [`twa_${'A'.repeat(43)}`, 'API_TOKEN_INVALID'],
      [story.development.publish_token, 'API_TOKEN_INVALID'],
    ] as const) {
      const { status, json } = await ask(form, other.things, token);
      expect([status, json.code, json.details[0].reason]).toEqual([401, 16, reason]);
    }
    expect(await stateOf(other)).toEqual(before);
  });

  test('the typed call says the same', async () => {
    const { method, body } = form;
    const content = bodyOf(form);
    const request = (things: Things) =>
      fromJson(method.input, {
        ...Object.fromEntries(variablesOf(form).map((name) => [name, things[name] ?? ''])),
        ...(body === '' || body === '*' ? {} : { [body]: content ?? {} }),
      });
    const codeOf = async (things: Things, token: string): Promise<Code | 'ok'> => {
      const transport = createGrpcTransport({ baseUrl: story.url });
      expect(method.methodKind).toBe('unary');
      const call = method as DescMethodUnary<DescMessage, DescMessage>;
      const headers = { authorization: `Bearer ${token}` };
      return transport.unary(call, undefined, 5_000, headers, request(things)).then(
        () => 'ok' as const,
        (error: unknown) => ConnectError.from(error).code,
      );
    };
    expect(await codeOf(acme.things, other.token)).toBe(Code.NotFound);
    expect(await codeOf(other.things, other.narrowToken)).toBe(Code.PermissionDenied);
    expect(await codeOf(other.things, 'twa_guess')).toBe(Code.Unauthenticated);
  });
});

describe('calls about no organization of the path', () => {
  const list = '/v1/organizations';

  test('a token’s list of organizations has its own', async () => {
    const { organizations } = await new JsonApi(story.url, other.token).fetch('GET', list);
    expect(organizations.map(({ slug }: { slug: string }) => slug)).toEqual([other.things['organization']]);
    const narrow = await new JsonApi(story.url, other.narrowToken).get(list);
    expect([narrow.status, narrow.json.code]).toEqual([403, 7]);
  });

  test('no token makes an organization', async () => {
    const made = await new JsonApi(story.url, other.token).call('POST', list, { name: 'Mine' });
    expect([made.status, made.json.code]).toEqual([403, 7]);
  });

  test('whoever is let in may know the regions', async () => {
    expect((await new JsonApi(story.url, other.narrowToken).get('/v1/regions')).status).toBe(200);
  });

  test.each([
    ['POST', list, { name: 'Mine' }],
    ['GET', list, undefined],
    ['GET', '/v1/regions', undefined],
  ])('nobody else is: %s %s', async (verb, path, body) => {
    for (const token of [undefined, 'twa_guess']) {
      const { status, json } = await new JsonApi(story.url, token).call(verb, path, body);
      expect([status, json.code]).toEqual([401, 16]);
    }
  });
});
