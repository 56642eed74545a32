import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { cliHome, runCli } from '../support/cli.ts';
import { startRedis } from '../support/redis.ts';
import { type Story, startStory } from '../support/story.ts';
import { until } from '../support/until.ts';

const WORDS = Array.from({ length: 60 }, (_, n) => `word-${n}`).join(' ');

let story: Story;
let browser: Browser;
let page: Page;
let complaints: string[];

beforeAll(async () => {
  // One test publishes more than the rate that is the default lets through in time.
  story = await startStory({ PUBLISH_STREAM_RATE_PER_SEC: '0' });
  browser = await launchChromium();
});

afterAll(async () => {
  await browser?.close();
  await story?.stop();
});

beforeEach(async () => {
  page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  complaints = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(story.url);
  await page.getByLabel('Text to publish').fill(WORDS);
});

afterEach(async () => {
  await page.close();
});

const press = (name: string) => page.getByRole('button', { name, exact: true }).click();
const shown = (id: string) => page.locator(`#${id}`);

async function untilShown(id: string, text: string | RegExp): Promise<void> {
  await shown(id).filter({ hasText: text }).waitFor();
}

async function untilReceived(count: number): Promise<void> {
  await until(`${count} are received`, async () => Number(await shown('received').textContent()) >= count);
}

describe('the page', () => {
  it('shows a stream arrive, resume after a cut, and end, with nothing lost', async () => {
    await press('Start a stream');
    await untilReceived(10);
    await press('Cut the connection');
    await untilShown('listener-state', 'cut');
    await untilShown('verdict', /[1-9]\d* still to come/);
    await untilShown('listener-state', 'connected');
    await untilReceived(40);

    await press('Join now');
    await untilShown('listener-state', 'ended');
    await untilShown('late-state', 'ended');
    // START, sixty words, END.
    expect(await shown('verdict').textContent()).toBe('62 published, 62 received: all there, in order, none twice.');
    expect(await shown('resumed').textContent()).toBe('1');
    expect(await shown('listener-text').textContent()).toBe(WORDS);
    expect(await shown('late-text').textContent()).toBe(WORDS);
    expect(await shown('log').textContent()).toContain('EventSource stopped by itself (204)');

    await shown('late-text').evaluate((element) => {
      element.textContent = '';
    });
    await press('Join now');
    await untilShown('late-text', WORDS);
    expect(complaints).toEqual([]);
  });

  it('shares its channel with a terminal', async () => {
    await page.getByLabel('End the stream after the text').uncheck();
    await page.getByLabel('Text to publish').fill('from the page ');
    await press('Start a stream');
    await untilShown('listener-text', 'from the page');
    const line = (await page.locator('#commands code').nth(1).textContent()) ?? '';
    const parts = /^TIDEWAY_DATA_DIR='(\S+)' npm run -s publish -- --channel (\S+) "from a terminal "$/.exec(line);
    const [, dataDir = '', channel = ''] = parts ?? [];
    expect(JSON.parse(await readFile(join(dataDir, 'dev.json'), 'utf8'))).toEqual(story.development);

    const home = await cliHome(story.development, story.url);
    const env = { TIDEWAY_DATA_DIR: home.dir };
    expect((await runCli('publish', ['--channel', channel, 'from a terminal '], env)).code).toBe(0);
    await untilShown('listener-text', 'from the page from a terminal');
    await press('End');
    await untilShown('listener-state', 'ended');
    expect(await runCli('listen', ['--channel', channel], env)).toEqual({
      code: 0,
      out: 'from the page from a terminal ',
      err: '',
    });
    await home.remove();
    expect(await shown('verdict').textContent()).toMatch(/all there, in order, none twice\. And 1 from elsewhere\.$/);
    expect(complaints).toEqual([]);
  });

  it('keeps up with thousands of messages from a terminal', async () => {
    await page.getByLabel('End the stream after the text').uncheck();
    await page.getByLabel('Text to publish').fill('first ');
    await press('Start a stream');
    await untilShown('listener-text', 'first');
    const channel = (await shown('channel').textContent()) ?? '';
    const lines = Array.from({ length: 5_000 }, (_, n) => `line ${n}\n`).join('');
    const home = await cliHome(story.development, story.url);
    const flags = ['--channel', channel, '--lines', '--no-start', '--quiet'];
    expect((await runCli('publish', flags, { TIDEWAY_DATA_DIR: home.dir }, lines)).code).toBe(0);
    await home.remove();
    await untilShown('listener-state', 'ended');
    expect(await shown('listener-text').textContent()).toBe(`first ${lines}`);
    expect(await shown('verdict').textContent()).toMatch(
      /all there, in order, none twice\. And 5001 from elsewhere\.$/,
    );
    expect(complaints).toEqual([]);
  });

  it('says what is missed when it was no longer retained', async () => {
    const other = await startStory({ STREAM_RETAIN_MESSAGES: '1', STREAM_RETAIN_SEC: '0' });
    try {
      await page.goto(other.url);
      await page.getByLabel('Text to publish').fill(WORDS);
      await press('Start a stream');
      await untilReceived(3);
      await press('Cut the connection');
      await untilShown('verdict', /[1-9]\d* still to come/);
      await untilShown('verdict', /[1-9]\d* missed, as the listener was told/);
    } finally {
      await other.stop();
    }
  });

  it('ends a listener that joins when the log of an ended stream is gone', async () => {
    await using redis = await startRedis();
    const other = await startStory({ REDIS_URL: redis.url });
    try {
      await page.goto(other.url);
      await page.getByLabel('Text to publish').fill('short');
      await press('Start a stream');
      await untilShown('listener-state', 'ended');
      const channel = (await shown('channel').textContent()) ?? '';
      // As two minutes do.
      const [log = ''] = await redis.admin.keys(`*${channel}*:log`);
      expect(await redis.admin.del(log)).toBe(1);
      await press('Join now');
      await untilShown('late-state', 'ended');
      expect(await shown('log').textContent()).toContain('expired: Nothing of what came after');
      expect(await shown('log').textContent()).not.toContain('Trying again.');
    } finally {
      await other.stop();
    }
  });

  it('fits a phone, and can be worked by keyboard', async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    await page.getByLabel('Text to publish').fill('short');
    await page.getByLabel('End the stream after the text').focus();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await untilShown('listener-state', 'ended');
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
    expect(complaints).toEqual([]);
  });

  it('says what is wrong when the service is away, and when the edge is', async () => {
    const other = await startStory();
    try {
      await page.goto(other.url);
      await page.getByLabel('End the stream after the text').uncheck();
      await page.getByLabel('Text to publish').fill('before');
      await press('Start a stream');
      await untilShown('listener-text', 'before');
      // What was last published is answered.
      await page.locator('#more:enabled').waitFor();
      other.monolith.kill('SIGKILL');
      await other.monolith.exited;
      await press('Start a stream');
      await untilShown('problem', /^The edge refused a stream: 503, /);
      // Nothing of the stream before is left to press, or to be read.
      for (const id of ['more', 'end', 'cut', 'join']) expect(await shown(id).isDisabled()).toBe(true);
      expect(await shown('verdict').textContent()).toBe('Nothing published yet.');
      expect(await shown('terminal').isVisible()).toBe(false);
      await other.edge.stop();
      await press('Start a stream');
      await untilShown('problem', /does not answer\. Is "npm start" still running\?$/);
    } finally {
      await other.stop();
    }
  });
});
