import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launchChromium } from '../support/chromium.ts';
import { type Story, startStory } from '../support/story.ts';

// What a real browser does with the cookie of a session: for our page, and for those of others.
let story: Story;
let browser: Browser;
let others: Server;
beforeAll(async () => {
  story = await startStory();
  browser = await launchChromium();
  others = createServer((_request, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end('<title>Somebody else</title>');
  }).listen(0);
  await once(others, 'listening');
});
afterAll(async () => {
  await browser?.close();
  await story?.stop();
  others?.close();
});

const ANN = { email: 'ann@example.com', password: 'correct horse battery' };

/** What a page's script gets, or why it does not. */
function ask(page: Page, path: string, body?: object): Promise<{ status: number; text: string } | string> {
  return page.evaluate(
    async ([url, json]) => {
      const question = { method: 'POST', headers: { 'content-type': 'application/json' }, body: json };
      try {
        const response = await fetch(url, { credentials: 'include', ...(json === '' ? {} : question) });
        return { status: response.status, text: await response.text() };
      } catch (error) {
        return String(error);
      }
    },
    [`${story.url}${path}`, body === undefined ? '' : JSON.stringify(body)] as const,
  );
}

test('our page signs in; others’, of this host too, neither read nor write in its user’s name', async () => {
  const context = await browser.newContext();
  const own = await context.newPage();
  await own.goto(story.url);
  expect(await ask(own, '/auth/sign-up', ANN)).toMatchObject({ status: 200 });
  expect(await ask(own, '/auth/sign-in', ANN)).toMatchObject({ status: 200 });
  const session = await ask(own, '/auth/session');
  expect(session).toMatchObject({ status: 200, text: expect.stringContaining(ANN.email) });
  expect(await ask(own, '/v1/organizations', { name: 'Acme' })).toMatchObject({ status: 200 });
  expect(await own.evaluate('document.cookie')).toBe('');

  const { port } = others.address() as AddressInfo;
  for (const host of ['localhost', '127.0.0.1']) {
    const evil = await context.newPage();
    await evil.goto(`http://${host}:${port}/`);
    for (const [path, body] of [
      ['/auth/session', undefined],
      ['/v1/organizations', undefined],
      ['/v1/organizations', { name: 'Evil' }],
      ['/auth/sign-out', { everywhere: true }],
      ['/auth/sign-in', { email: 'eve@example.com', password: 'some password' }],
    ] as const) {
      expect([host, path, await ask(evil, path, body)]).toEqual([
        host,
        path,
        expect.stringContaining('Failed to fetch'),
      ]);
    }
    // A form needs nobody's leave to be sent, and text/plain with a little care is JSON.
    await evil.setContent(
      `<form method="post" enctype="text/plain" action="${story.url}/auth/sign-in">
        <input name='{"email":"eve@example.com","password":"' value='"}'></form>`,
    );
    const [answer] = await Promise.all([
      evil.waitForResponse((response) => response.url().endsWith('/auth/sign-in')),
      evil.waitForURL('**/auth/sign-in'),
      evil.evaluate('document.forms[0].submit()'),
    ]);
    expect([host, answer.status(), await answer.text()]).toEqual([
      host,
      403,
      expect.stringContaining('another origin'),
    ]);
    await evil.close();
  }
  expect(await ask(own, '/auth/session')).toEqual(session);
  const organizations = await ask(own, '/v1/organizations');
  expect(organizations).toMatchObject({ text: expect.not.stringContaining('Evil') });
  expect(await ask(own, '/auth/sign-out', {})).toMatchObject({ status: 200 });
  expect(await ask(own, '/auth/session')).toMatchObject({ status: 401 });
  await context.close();
});
