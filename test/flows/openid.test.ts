import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Browser, type Page } from '../support/browser.ts';
import { freePort } from '../support/free-port.ts';
import { type OpenIdProvider, startOpenIdProvider } from '../support/openid-provider.ts';
import { type Story, startStory } from '../support/story.ts';

// Signing in at a real OpenID provider, through the edge: authorization code flow with PKCE.
let provider: OpenIdProvider;
let story: Story;
beforeAll(async () => {
  const port = await freePort();
  provider = await startOpenIdProvider(`http://127.0.0.1:${port}/auth/oidc/callback`);
  const env = {
    OIDC_ISSUER: provider.issuer,
    OIDC_CLIENT_ID: provider.clientId,
    OIDC_CLIENT_SECRET: provider.clientSecret,
  };
  story = await startStory(env, { listen: { host: '127.0.0.1', port } });
});
afterAll(async () => {
  await story?.stop();
  await provider?.stop();
});

const START = '/auth/oidc/start?return_to=/healthz%3Fwelcome';
const PASSWORD = 'correct horse battery';

/** From our start to where the provider sends the browser back, and on. */
async function signIn(browser: Browser, login: string): Promise<Page> {
  return provider.signIn(browser, await browser.visit(`${story.url}${START}`), login);
}

/** A name at the provider, and the address that it says. */
function someone(isVerified?: boolean): { login: string; email: string } {
  const login = randomUUID();
  const email = `ann-${login}@example.com`;
  const verification = isVerified === undefined ? {} : { email_verified: isVerified };
  provider.knows(login, { email, name: 'Ann Example', ...verification });
  return { login, email };
}

async function sessionOf(browser: Browser) {
  const page = await browser.send(`${story.url}/auth/session`);
  return page.status === 200 ? JSON.parse(page.text).session : undefined;
}

function post(browser: Browser, path: string, body: object): Promise<Page> {
  const headers = { 'content-type': 'application/json' };
  return browser.send(`${story.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
}

test('makes an account at the first sign-in, and finds it at the next', async () => {
  const { login, email } = someone(true);
  const browser = new Browser();
  const page = await signIn(browser, login);
  expect([page.url, page.status]).toEqual([`${story.url}/healthz?welcome`, 200]);
  const session = await sessionOf(browser);
  expect(session).toMatchObject({ email, name: 'Ann Example' });
  expect(browser.cookie(story.url, 'tideway_oidc')).toBeUndefined();
  const other = new Browser();
  await signIn(other, login);
  expect((await sessionOf(other)).user).toBe(session.user);
  expect((await post(browser, '/v1/organizations', { name: 'Acme' })).status).toBe(200);
});

test('asks the provider as it should: a code, PKCE, state and nonce, new each time', async () => {
  const asked = await Promise.all(
    [1, 2].map(async () => {
      const response = await fetch(`${story.url}/auth/oidc/start`, { redirect: 'manual' });
      expect(response.status).toBe(302);
      expect(response.headers.getSetCookie()).toEqual([
        expect.stringMatching(/^tideway_oidc=[\w-]+; Path=\/; HttpOnly; SameSite=Lax; Max-Age=600$/),
      ]);
      expect(response.headers.get('cache-control')).toBe('no-store');
      return new URL(response.headers.get('location') ?? '').searchParams;
    }),
  );
  for (const query of asked) {
    expect(Object.fromEntries(query)).toMatchObject({
      response_type: 'code',
      client_id: provider.clientId,
      redirect_uri: `${story.url}/auth/oidc/callback`,
      scope: 'openid email profile',
      code_challenge_method: 'S256',
    });
  }
  for (const name of ['state', 'nonce', 'code_challenge']) {
    const [first, second] = asked.map((query) => query.get(name) ?? '');
    expect(first?.length).toBeGreaterThanOrEqual(43);
    expect(first).not.toBe(second);
  }
});

test.for([[false], [undefined]] as const)(
  'an address that the provider has not verified (%s) is nobody’s, whether it has an account or not',
  async ([isVerified]) => {
    const [stranger, victim] = [someone(isVerified), someone(isVerified)];
    const owner = new Browser();
    await post(owner, '/auth/sign-up', { email: victim.email, password: PASSWORD });
    await post(owner, '/auth/sign-in', { email: victim.email, password: PASSWORD });
    const answers = [];
    for (const { login } of [stranger, victim]) {
      const browser = new Browser();
      const { status, text } = await signIn(browser, login);
      answers.push([status, text]);
      expect(await sessionOf(browser)).toBeUndefined();
    }
    const refused = [403, 'The OpenID provider has not verified the e-mail address'];
    expect(answers).toEqual([refused, refused]);
    expect((await sessionOf(owner)).email).toBe(victim.email);
  },
);

test('who holds the address takes the account back from who signed up with it first', async () => {
  const { login, email } = someone(true);
  const squatter = new Browser();
  await post(squatter, '/auth/sign-up', { email, password: PASSWORD });
  await post(squatter, '/auth/sign-in', { email, password: PASSWORD });
  const { user } = await sessionOf(squatter);
  const holder = new Browser();
  await signIn(holder, login);
  expect((await sessionOf(holder)).user).toBe(user);
  expect(await sessionOf(squatter)).toBeUndefined();
  expect((await post(squatter, '/auth/sign-in', { email, password: PASSWORD })).status).toBe(401);
  expect((await post(holder, '/auth/password', { new_password: 'my own password' })).status).toBe(200);
  expect((await post(new Browser(), '/auth/sign-in', { email, password: 'my own password' })).status).toBe(200);
});

test('an answer counts once, and in the browser that asked for it alone', async () => {
  const { login } = someone(true);
  const attacker = new Browser();
  await signIn(attacker, login);
  const callback = attacker.visited.findLast((url) => url.includes('/auth/oidc/callback?')) ?? '';
  expect(callback).toContain('code=');

  // Sent to somebody else, who would be signed in as the attacker.
  const victim = new Browser();
  expect((await victim.visit(callback, 'cross-site')).status).toBe(403);
  await victim.visit(`${story.url}${START}`);
  expect((await victim.visit(callback, 'cross-site')).status).toBe(403);
  expect(await sessionOf(victim)).toBeUndefined();

  const again = new Browser();
  const flow = await fetchFlow(again);
  const replayed = new URL(callback);
  replayed.searchParams.set('state', flow.state);
  expect((await again.visit(replayed.href, 'cross-site')).status).toBe(403);
  expect(await sessionOf(again)).toBeUndefined();
});

async function fetchFlow(browser: Browser): Promise<{ state: string }> {
  await browser.visit(`${story.url}${START}`);
  return JSON.parse(Buffer.from(browser.cookie(story.url, 'tideway_oidc') ?? '', 'base64url').toString());
}

test('an answer of another issuer, and a refusal of the provider, are refused', async () => {
  const browser = new Browser();
  for (const query of ['code=made-up&iss=https://evil.example', 'code=made-up', 'error=access_denied', '']) {
    const { state } = await fetchFlow(browser);
    const answer = await browser.visit(`${story.url}/auth/oidc/callback?${query}&state=${state}`, 'cross-site');
    expect([query, answer.status, answer.text]).toEqual([
      query,
      403,
      'The OpenID provider did not confirm the sign-in',
    ]);
  }
  expect(await sessionOf(browser)).toBeUndefined();
});

test.for(['//evil.example', 'https://evil.example/', '/\\evil.example', 'javascript:alert(1)', '/a\nb', ''])(
  'goes back to a path of ours alone, not to %j',
  async (path) => {
    const url = `${story.url}/auth/oidc/start?return_to=${encodeURIComponent(path)}`;
    expect((await fetch(url, { redirect: 'manual' })).status).toBe(400);
  },
);

test('the provider is away: said, and over when it is back', async () => {
  const { login } = someone(true);
  const browser = new Browser();
  const { state } = await fetchFlow(browser);
  await provider.stop();
  const answer = await browser.visit(`${story.url}/auth/oidc/callback?code=x&state=${state}&iss=${provider.issuer}`);
  expect([answer.status, answer.headers.get('retry-after'), answer.text]).toEqual([
    503,
    '1',
    'The OpenID provider does not answer',
  ]);
  await provider.start();
  await signIn(browser, login);
  expect(await sessionOf(browser)).toBeDefined();
});
