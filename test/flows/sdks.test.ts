import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { root, withPrograms } from '../../scripts/lib/project.mjs';
import { launchChromium } from '../support/chromium.ts';
import { JsonApi } from '../support/json-api.ts';
import { makePythonClient, type PythonClient } from '../support/python.ts';
import { serveSdkPage } from '../support/sdk-server.ts';
import { type Story, startStory } from '../support/story.ts';
import { until } from '../support/until.ts';

// Sentry's SDKs as their makers publish them, with our DSN, through the edge; and each event read back.

const run = promisify(execFile);

let story: Story;
let api: JsonApi;
let dsn: string;
let folder: string;
let python: PythonClient;

beforeAll(async () => {
  [story, python] = await Promise.all([startStory(), makePythonClient()]);
  const { api_token: token, dsn: given } = story.development;
  api = new JsonApi(story.url, token);
  // The DSN that a developer is told has the edge's usual port.
  dsn = Object.assign(new URL(given), { port: String(story.edge.port), hostname: '127.0.0.1' }).href;
  folder = await mkdtemp(join(tmpdir(), 'tideway-sdks-'));
});
afterAll(async () => {
  python?.stop();
  await story?.stop();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

function eventPath(id: string): string {
  const { organization, project } = story.development;
  return `/v1/organizations/${organization}/projects/${project}/events/${id}`;
}

/** What was sent is read by id, with hyphens or without. */
async function readBack(id: string) {
  expect(id).toMatch(/^[0-9a-f-]{32,36}$/);
  let answer = await api.get(eventPath(id));
  const isThere = async () => {
    answer = await api.get(eventPath(id));
    return answer.status === 200;
  };
  await until(`event ${id} is there`, isThere);
  return answer.json.event;
}

/** What every application here says of itself. */
function said(flavour: string) {
  return {
    level: 'error',
    environment: 'test',
    release: `${flavour}-app@1.2.3`,
    body: {
      environment: 'test',
      release: `${flavour}-app@1.2.3`,
      user: expect.objectContaining({ id: 'u-1', email: 'ada@example.com' }),
      contexts: expect.objectContaining({ deep: expect.objectContaining({ list: [1, 'two', 3.5] }) }),
    },
  };
}

function tagOf(event: { body: { tags: readonly (readonly [string, string])[] } }, name: string) {
  return event.body.tags.find(([key]) => key === name)?.[1];
}

describe('an error reported by', () => {
  test('Python', async () => {
    const id = (await python.run('python_sdk.py', dsn)).trim();
    const event = await readBack(id);
    expect(event).toMatchObject({ id, title: "KeyError: 'nothing'", platform: 'python', ...said('python') });
    expect(tagOf(event, 'flavour')).toBe('python');
    expect(event.body.exception.values[0].stacktrace.frames.at(-1)).toMatchObject({ function: '<module>' });
  });

  test('Node', async () => {
    const { stdout } = await run(process.execPath, ['test/flows/node_sdk.mjs', dsn], { cwd: root });
    const event = await readBack(stdout.trim());
    expect(event).toMatchObject({ title: 'RangeError: the process fell over', platform: 'node', ...said('node') });
    expect(tagOf(event, 'flavour')).toBe('node');
  });

  test('Go', async () => {
    const { stdout } = await run('go', ['run', '.', dsn], { cwd: join(root, 'test/flows/go_sdk') });
    const event = await readBack(stdout.trim());
    expect(event).toMatchObject({ title: expect.stringContaining('the gopher fell over'), ...said('go') });
    expect(tagOf(event, 'flavour')).toBe('go');
  }, 180_000);

  test('a page in a browser', async () => {
    const page = await serveSdkPage(`
      import * as Sentry from '@sentry/browser';
      Sentry.init({ dsn: ${JSON.stringify(dsn)}, release: 'page-app@1.2.3', environment: 'test', sendDefaultPii: true });
      Sentry.setTag('flavour', 'page');
      Sentry.setUser({ id: 'u-1', email: 'ada@example.com' });
      Sentry.setContext('deep', { list: [1, 'two', 3.5] });
      window.reported = new Promise((resolve) => Sentry.getClient().on('afterSendEvent', (event, answer) =>
        resolve({ id: event.event_id, status: answer.statusCode })));
      setTimeout(() => { throw new TypeError('the page fell over'); });
    `);
    const browser = await launchChromium();
    try {
      const tab = await browser.newPage();
      await tab.goto(page.origin);
      const reported = await tab.waitForFunction('window.reported').then((handle) => handle.jsonValue());
      const { id, status } = reported as { id: string; status: number };
      expect(status).toBe(200);
      const event = await readBack(id);
      expect(event).toMatchObject({ title: 'TypeError: the page fell over', platform: 'javascript', ...said('page') });
      expect(event.body.request.url).toBe(`${page.origin}/`);
      // For a connection of this machine's own Envoy names any address that the machine has.
      expect(isIP(event.body.user.ip_address)).not.toBe(0);
    } finally {
      await browser.close();
      await page.stop();
    }
  });

  test('sentry-cli', async () => {
    const { stdout } = await run(
      join(root, 'node_modules/.bin/sentry-cli'),
      ['send-event', '-m', 'sent by hand', '-r', 'cli-app@1.2.3', '-E', 'test', '-t', 'flavour:cli'],
      { env: withPrograms({ PATH: process.env['PATH'], SENTRY_DSN: dsn, HOME: folder }) },
    );
    const id = /Event id: ([0-9a-f-]+)/.exec(stdout)?.[1] ?? stdout;
    const event = await readBack(id);
    expect(event).toMatchObject({ title: 'sent by hand', release: 'cli-app@1.2.3', environment: 'test' });
    expect(tagOf(event, 'flavour')).toBe('cli');
  });

  test('curl, in the form of the oldest SDKs', async () => {
    const { username: key, pathname } = new URL(dsn);
    const file = join(folder, 'event.json');
    await writeFile(
      file,
      JSON.stringify({ message: 'by curl', tags: { flavour: 'curl' }, extra: { n: 1, deep: [{}] } }),
    );
    const { stdout } = await run('curl', [
      ...['-sS', '-X', 'POST', `${story.url}/api${pathname}/store/`, '--data-binary', `@${file}`],
      ...['-H', `X-Sentry-Auth: Sentry sentry_version=7, sentry_key=${key}`, '-H', 'Content-Type: application/json'],
    ]);
    const event = await readBack(JSON.parse(stdout).id);
    expect(event).toMatchObject({ title: 'by curl', level: 'error', body: { extra: { n: 1, deep: [{}] } } });
    expect(tagOf(event, 'flavour')).toBe('curl');
  });
});

test('what was reported is found by its words, counted, and listed for the whole organization', async () => {
  const { organization, project } = story.development;
  const found = await api.fetch('GET', `/v1/organizations/${organization}/events?query=GOPHER%20fell`);
  expect(found.events).toHaveLength(1);
  expect(found.events[0]).not.toHaveProperty('body');
  const listed = await api.fetch('GET', `/v1/organizations/${organization}/projects/${project}/events?page_size=4`);
  const rest = await api.fetch(
    'GET',
    `/v1/organizations/${organization}/projects/${project}/events?page_size=4&page_token=${listed.next_page_token}`,
  );
  expect([listed.events.length, rest.events.length, rest.next_page_token]).toEqual([4, 2, '']);
  await until('six errors are counted', async () => {
    const { totals } = await api.fetch('GET', `/v1/organizations/${organization}/projects/${project}/outcomes`);
    const accepted = totals.filter((total: { outcome: string }) => total.outcome === 'accepted');
    return accepted.some(
      (total: { category: string; quantity: string }) => total.category === 'error' && total.quantity === '6',
    );
  });
});
