import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { JsonApi } from '../support/json-api.ts';
import { type Story, startStory } from '../support/story.ts';

// ControlService as curl and fetch call it: JSON by Envoy's transcoder, in the style of Google's AIPs.
let story: Story;
let api: JsonApi;
const organization = '/v1/organizations/development';

beforeAll(async () => {
  story = await startStory();
  api = new JsonApi(story.url, story.development.api_token);
});
afterAll(() => story?.stop());

async function newProject(more: object = {}): Promise<{ path: string; id: string; slug: string }> {
  const project = await api.fetch('POST', `${organization}/projects`, { name: 'App', ...more });
  return { ...project, path: `${organization}/projects/${project.slug}` };
}

async function newKey(): Promise<string> {
  const { path } = await newProject();
  const { keys } = await api.fetch('GET', `${path}/keys`);
  return `${path}/keys/${keys[0].public_key}`;
}

describe('what the first start made', () => {
  test('an organization, a project and its DSN, and a token with every scope', async () => {
    const { development } = story;
    const { organizations } = await api.fetch('GET', '/v1/organizations');
    expect(organizations).toMatchObject([{ id: '1', slug: development.organization, state: 'STATE_ACTIVE' }]);
    const { keys } = await api.fetch('GET', `${organization}/projects/${development.project}/keys`);
    const dsn = new URL(development.dsn);
    expect(keys).toMatchObject([{ public_key: dsn.username, state: 'STATE_ACTIVE' }]);
    expect(dsn.pathname).toBe('/1');
    const { tokens } = await api.fetch('GET', `${organization}/tokens`);
    expect(tokens).toHaveLength(1);
  });
});

describe('resources', () => {
  test('are answered as they are, empty fields too', async () => {
    const project = await api.fetch('POST', `${organization}/projects`, { name: 'Ünïcode app', platform: 'node' });
    expect(project).toEqual({
      id: expect.stringMatching(/^\d+$/),
      organization_id: '1',
      slug: 'unicode-app',
      name: 'Ünïcode app',
      platform: 'node',
      state: 'STATE_ACTIVE',
      revision: expect.stringMatching(/^\d+$/),
      allowed_domains: ['*'],
      filters: {
        browser_extensions: false,
        web_crawlers: false,
        localhost: false,
        legacy_browsers: [],
        client_ips: [],
        error_messages: [],
        releases: [],
        csp_disallowed_sources: [],
        transactions: [],
      },
      scrubbing: {
        scrub_data: true,
        scrub_defaults: true,
        scrub_ip_addresses: false,
        sensitive_fields: [],
        exclude_fields: [],
        pii_config_json: '',
      },
      quotas: [],
      retention_days: 90,
      create_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      update_time: project.create_time,
      etag: expect.stringMatching(/./),
    });
    for (const name of [project.id, project.slug]) {
      expect(await api.fetch('GET', `/v1/organizations/1/projects/${name}`)).toMatchObject({ id: project.id });
    }
  });

  test('are listed in pages', async () => {
    const made = [await newProject(), await newProject(), await newProject()].map(({ id }) => id);
    const ids: string[] = [];
    let pageToken = '';
    do {
      const query = `page_size=2&page_token=${encodeURIComponent(pageToken)}`;
      const page = await api.fetch('GET', `${organization}/projects?${query}`);
      expect(page.projects.length).toBeLessThanOrEqual(2);
      ids.push(...page.projects.map(({ id }: { id: string }) => id));
      pageToken = page.next_page_token;
    } while (pageToken !== '');
    expect(ids).toEqual(expect.arrayContaining(made));
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('an empty list is a list', async () => {
    expect(await api.fetch('GET', `${organization}/members`)).toEqual({ members: [], next_page_token: '' });
  });

  test('a slug is unique, and made of the name where it is not said', async () => {
    const first = await newProject({ name: 'Shop', slug: 'shop' });
    const second = await newProject({ name: 'Shop' });
    expect(second.slug).toMatch(/^shop-/);
    const { status, json } = await api.call('POST', `${organization}/projects`, { name: 'x', slug: first.slug });
    expect([status, json.code, json.message]).toEqual([409, 6, 'This slug is taken']);
  });
});

describe('PATCH', () => {
  let key: string;
  beforeEach(async () => {
    key = await newKey();
  });

  test('without a mask changes what is set', async () => {
    const limit = { window_sec: 60, count: 5 };
    expect(await api.fetch('PATCH', key, { rate_limit: limit })).toMatchObject({
      name: 'Default',
      rate_limit: { window_sec: 60, count: '5' },
    });
    expect(await api.fetch('PATCH', key, { name: 'Renamed' })).toMatchObject({
      name: 'Renamed',
      rate_limit: { window_sec: 60, count: '5' },
    });
    expect(await api.fetch('PATCH', key, { rateLimit: { windowSec: 1 } })).toMatchObject({
      rate_limit: { window_sec: 1, count: '0' },
    });
  });

  test.each([
    'update_mask=rate_limit',
    'update_mask=rateLimit',
    'updateMask=rate_limit',
    'update_mask.paths=rate_limit',
  ])('with ?%s clears what is not there', async (mask) => {
    await api.fetch('PATCH', key, { rate_limit: { window_sec: 60, count: 5 } });
    const cleared = await api.fetch('PATCH', `${key}?${mask}`, { name: 'Not named' });
    expect(cleared).not.toHaveProperty('rate_limit');
    expect(cleared.name).toBe('Default');
  });

  test('takes several fields in a mask, and a body that has nothing', async () => {
    await api.fetch('PATCH', key, { rate_limit: { window_sec: 60, count: 5 } });
    expect(await api.fetch('PATCH', `${key}?update_mask=name,rate_limit`, { name: 'x' })).toMatchObject({ name: 'x' });
    expect(await api.fetch('GET', key)).not.toHaveProperty('rate_limit');
    expect((await api.call('PATCH', `${key}?update_mask=rate_limit`)).status).toBe(200);
  });

  test('changes one setting of a group, and leaves the others', async () => {
    const { path } = await newProject();
    await api.fetch('PATCH', path, { filters: { web_crawlers: true } });
    await api.fetch('PATCH', path, { scrubbing: { sensitive_fields: ['iban'] } });
    await api.fetch('PATCH', `${path}?update_mask=filters.localhost`, { filters: { localhost: true } });
    const project = await api.fetch('PATCH', `${path}?update_mask=scrubbing.scrub_defaults`, {});
    expect(project.filters).toMatchObject({ web_crawlers: true, localhost: true, browser_extensions: false });
    expect(project.scrubbing).toMatchObject({ scrub_data: true, scrub_defaults: false, sensitive_fields: ['iban'] });
  });

  test('passes over what is output only, so that what was read can be sent back', async () => {
    const read = await api.fetch('GET', key);
    const { etag: _, ...sent } = read;
    expect(await api.fetch('PATCH', key, { ...sent, id: '999', name: 'Sent back' })).toEqual({
      ...read,
      name: 'Sent back',
      etag: expect.not.stringMatching(read.etag),
      update_time: expect.any(String),
    });
  });

  test('with an etag changes only what was seen', async () => {
    const { etag } = await api.fetch('GET', key);
    const { etag: next } = await api.fetch('PATCH', key, { name: 'First', etag });
    expect(next).not.toBe(etag);
    const { status, json } = await api.call('PATCH', key, { name: 'Second', etag });
    expect([status, json.code]).toEqual([409, 10]);
    expect(json.details).toMatchObject([{ reason: 'ETAG_DIFFERS' }]);
    expect(await api.fetch('GET', key)).toMatchObject({ name: 'First', etag: next });
  });

  test('disables and enables, and raises the project’s revision', async () => {
    const project = key.replace(/\/keys\/.*/, '');
    const before = BigInt((await api.fetch('GET', project)).revision);
    expect(await api.fetch('PATCH', key, { state: 'STATE_DISABLED' })).toMatchObject({ state: 'STATE_DISABLED' });
    expect(BigInt((await api.fetch('GET', project)).revision)).toBeGreaterThan(before);
    expect(await api.fetch('PATCH', key, { state: 'STATE_ACTIVE' })).toMatchObject({ state: 'STATE_ACTIVE' });
  });
});

test('a rotated key is disabled, and its successor has its name and limit', async () => {
  const key = await newKey();
  await api.fetch('PATCH', key, { name: 'Web', rate_limit: { window_sec: 60, count: 5 } });
  const successor = await api.fetch('POST', `${key}:rotate`);
  expect(successor).toMatchObject({ name: 'Web', rate_limit: { count: '5' }, state: 'STATE_ACTIVE' });
  expect(successor.dsn).toContain(`//${successor.public_key}@`);
  expect(await api.fetch('GET', key)).toMatchObject({ state: 'STATE_DISABLED' });
});

test('an invitation says its secret once', async () => {
  const invited = { email: 'Ada@example.com', role: 'ROLE_ADMIN' };
  const { token, id } = await api.fetch('POST', `${organization}/invitations`, invited);
  expect(token).toMatch(/^twi_/);
  const list = await api.get(`${organization}/invitations`);
  expect(list.json.invitations).toMatchObject([{ id, ...invited }]);
  expect(list.text).not.toContain(token);
  await api.fetch('DELETE', `${organization}/invitations/${id}`);
  expect((await api.fetch('GET', `${organization}/invitations`)).invitations).toEqual([]);
});

test('the audit log says who changed what, and no values', async () => {
  const { tokens } = await api.fetch('GET', `${organization}/tokens`);
  const key = await newKey();
  await api.fetch('PATCH', key, { name: 'a name that no log should have', state: 'STATE_DISABLED' });
  const log = await api.get(`${organization}/audit_entries?page_size=1`);
  expect(log.json.audit_entries).toMatchObject([
    { actor: `token:${tokens[0].id}`, action: 'key.update', fields: ['name', 'state'] },
  ]);
  expect(log.text).not.toContain('a name that no log');
});

describe('what is wrong is a 400 that says where', () => {
  test.each([
    ['an unknown field', 'PATCH', '', { nmae: 'x' }, 'nmae: there is no such field'],
    [
      'one within a field',
      'PATCH',
      '',
      { filters: { local_host: true } },
      'filters.local_host: there is no such field',
    ],
    ['one within a list', 'PATCH', '', { quotas: [{ id: 'a' }, { nope: 1 }] }, 'quotas.nope: there is no such field'],
    ['one in a call', 'POST', '/keys', { label: 'x' }, 'label: there is no such field'],
    ['one behind a slash', 'POST', '/keys/', { label: 'x' }, 'label: there is no such field'],
    ['JSON that is none', 'PATCH', '', '{name: "x"}', 'The body is not JSON: see byte 2'],
    ['JSON and more', 'PATCH', '', '{"name": "x"} {}', 'The body is not JSON: see byte 15'],
    ['endless JSON', 'PATCH', '', '['.repeat(5000), /^The body is not JSON: see byte \d+$/],
    ['an unknown parameter', 'GET', '?pagesize=1', undefined, /pagesize/],
    ['a path in the query', 'PATCH', '?organization=2', {}, /^What the path names/],
    ['a mask of nothing', 'PATCH', '?update_mask=nope', {}, 'update_mask: names no such field'],
    ['a mask into a value', 'PATCH', '?update_mask=quotas.id', {}, 'update_mask: names no such field'],
    ['a state that is none', 'PATCH', '', { state: 7 }, /^update.state: /],
    ['an empty name', 'PATCH', '?update_mask=name', {}, 'update.name: must not be empty'],
    ['no name', 'POST', '/keys', {}, 'create.name: must not be empty'],
    ['a slug that is a number', 'PATCH', '', { slug: '123' }, /^update.slug: /],
    ['quotas with one id', 'PATCH', '', { quotas: [{ id: 'a' }, { id: 'a' }] }, /ids must be unique/],
    ['a quota without a window', 'PATCH', '', { quotas: [{ id: 'a', limit: 1 }] }, /needs a window_sec/],
    ['an address that is none', 'PATCH', '', { filters: { client_ips: ['x'] } }, /must be addresses and networks/],
    ['rules that are no JSON', 'PATCH', '', { scrubbing: { pii_config_json: '{' } }, /pii_config_json: must be JSON/],
    ['a page that is none', 'GET', '/keys?page_token=x', undefined, /^page_token: /],
    ['a page of -1', 'GET', '/keys?page_size=-1', undefined, /^page_size: /],
  ])('%s', async (_, verb, path, body, message) => {
    const { status, json, header } = await api.call(verb, `${organization}/projects/default${path}`, body);
    expect([status, json.code, header('content-type')]).toEqual([400, 3, ['application/json']]);
    expect(json.message).toMatch(message);
  });

  test('a region that an organization can’t move to', async () => {
    const { status, json } = await api.call('PATCH', organization, { region: 'elsewhere' });
    expect([status, json.message]).toEqual([400, 'update.region: can not be changed']);
  });
});

test.each([
  ['PUT', `${organization}/projects/default`],
  ['GET', `${organization}/nothing`],
  ['POST', `${organization}/projects/default:explode`],
])('%s %s is nothing', async (verb, path) => {
  const { status, json } = await api.call(verb, path, verb === 'GET' ? undefined : {});
  expect([status, json]).toEqual([404, { code: 5, message: 'Not found' }]);
});

test('what is too large is refused before it is read', async () => {
  const { status, json } = await api.call('PATCH', organization, { name: 'x'.repeat(200_000) });
  expect([status, json.code]).toEqual([413, 8]);
});
