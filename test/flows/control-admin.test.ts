import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cliHome, runCli } from '../support/cli.ts';
import { JsonApi } from '../support/json-api.ts';
import { type Story, startStory } from '../support/story.ts';
import { until } from '../support/until.ts';

// npm run admin, as a person at a terminal and a script use it.
let story: Story;
let home: Awaited<ReturnType<typeof cliHome>>;
let api: JsonApi;

beforeAll(async () => {
  story = await startStory();
  home = await cliHome(story.development, story.url);
  api = new JsonApi(story.url, story.development.operator_token);
});
afterAll(async () => {
  await story?.stop();
  await home?.remove();
});

const admin = (...args: string[]) => runCli('admin', args, { TIDEWAY_DATA_DIR: home.dir });

async function done(...args: string[]): Promise<string> {
  const { code, out, err } = await admin(...args);
  if (code !== 0) throw new Error(`admin ${args.join(' ')} ended with ${code}: ${err}`);
  return out;
}

describe('a person', () => {
  test('makes a project, and limits, disables, enables and rotates its key', async () => {
    expect(await done('projects', 'create', '--name', 'My app', '--platform', 'node')).toMatch(/^slug +my-app$/m);
    expect(await done('projects', 'list')).toMatch(/^2 +my-app +My app +node +active$/m);
    const list = await done('keys', 'list', '--project', 'my-app');
    const key = /[0-9a-f]{32}/.exec(list)?.[0] ?? '';
    const change = (verb: string, ...flags: string[]) => done('keys', verb, key, '--project', 'my-app', ...flags);
    expect(await change('update', '--rate-limit', '5/60s')).toMatch(/^rate_limit +5\/60s$/m);
    expect(await change('update', '--rate-limit', 'none')).not.toMatch(/rate_limit/);
    expect(await change('disable')).toMatch(/^state +disabled$/m);
    expect(await change('enable')).toMatch(/^state +active$/m);
    expect(await change('rotate')).not.toContain(key);
  });

  test('needs not say which organization and project `npm start` made', async () => {
    const { username } = new URL(story.development.dsn);
    expect(await done('keys', 'update', username, '--rate-limit', '5/60s')).toContain('5/60s');
    expect(await done('organizations', 'get', 'development')).toMatch(/^name +Development$/m);
  });

  test('sees what was reported, and what became of it', async () => {
    const { username, pathname } = new URL(story.development.dsn);
    const report = `${story.url}/api${pathname}/store/?sentry_key=${username}`;
    const { id } = (await (await fetch(report, { method: 'POST', body: '{"message":"seen by hand"}' })).json()) as {
      id: string;
    };
    await until('it is stored', async () => (await done('events', 'list', '--query', 'by hand')).includes(id));
    expect(await done('events', 'get', id)).toMatch(/^ +title +seen by hand$/m);
    expect(await done('outcomes', 'list')).toMatch(/^accepted +error +1 /m);
  });

  test('is told what is wrong, and a script is by the exit code', async () => {
    expect(await admin('projects', 'get', 'nothing')).toEqual({
      code: 1,
      out: '',
      err: 'There is no such thing, or none that this token may see.\n',
    });
    expect(await admin('projects', 'create')).toMatchObject({
      code: 1,
      err: 'Refused: create.name: must not be empty.\n',
    });
    expect(await admin('projects', 'explode')).toMatchObject({
      code: 2,
      err: expect.stringContaining('can be told to list, get'),
    });
    const stranger = { TIDEWAY_DATA_DIR: home.dir, TIDEWAY_API_TOKEN: 'twa_guess' };
    expect(await runCli('admin', ['projects', 'list'], stranger)).toMatchObject({
      code: 1,
      err: 'The token was refused: Invalid API token.\n',
    });
    expect(await admin('projects', 'update', 'default', '--name', 'Other', '--etag', 'v0')).toMatchObject({
      code: 1,
      err: expect.stringContaining('has another etag'),
    });
    expect(await admin('projects', 'list', '--url', 'http://127.0.0.1:1')).toMatchObject({ code: 3 });
  });
});

test('a token that was made can be used', async () => {
  const out = await done('tokens', 'create', '--name', 'ci', '--scope', 'projects:read', '--expires-in-days', '1');
  const token = /^token +(twa_\S+)$/m.exec(out)?.[1] ?? '';
  const env = { TIDEWAY_DATA_DIR: home.dir, TIDEWAY_API_TOKEN: token };
  expect(await runCli('admin', ['projects', 'list'], env)).toMatchObject({ code: 0 });
  expect(await runCli('admin', ['tokens', 'list'], env)).toMatchObject({
    code: 1,
    err: 'The token does not allow this: This needs the scope organization:read.\n',
  });
});

test('--json is the API’s JSON', async () => {
  const organization = '/v1/organizations/development';
  for (const [args, path] of [
    [['projects', 'list'], `${organization}/projects`],
    [['projects', 'get', 'default'], `${organization}/projects/default`],
    [['members', 'list'], `${organization}/members`],
    [['tokens', 'list'], `${organization}/tokens`],
    [['audit', 'list', '--page-size', '2'], `${organization}/audit_entries?page_size=2`],
    [['regions', 'list'], '/v1/regions'],
  ] as const) {
    expect(JSON.parse(await done(...args, '--json'))).toEqual(await api.fetch('GET', path));
  }
});

test('a list says how to go on', async () => {
  const { out, err } = await admin('audit', 'list', '--page-size', '1');
  const token = /--page-token (\S+)/.exec(err)?.[1] ?? '';
  const next = await done('audit', 'list', '--page-size', '1', '--page-token', token);
  expect(next.split('\n')).toHaveLength(3);
  expect(next).not.toBe(out);
});
