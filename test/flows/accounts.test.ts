import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Browser, type Page } from '../support/browser.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { type Story, startStory } from '../support/story.ts';

// People who make accounts, sign in, and work together, through the edge.
const PASSWORD = 'correct horse battery';
let postgres: PostgresServer;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres?.stop());

describe.each(['SQLite', 'PostgreSQL'])('accounts on %s', (kind) => {
  let story: Story;
  beforeAll(async () => {
    story = await startStory(kind === 'SQLite' ? {} : { DATABASE_URL: await postgres.createDatabase() });
  });
  afterAll(() => story?.stop());

  const newEmail = () => `ann-${randomUUID()}@example.com`;

  function post(browser: Browser, path: string, body: object, origin?: string): Promise<Page> {
    const question = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    return browser.send(`${story.url}${path}`, question, origin);
  }

  async function call(token: string, method: string, path: string, body?: object) {
    const response = await fetch(`${story.url}${path}`, {
      method,
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    // biome-ignore lint/suspicious/noExplicitAny: each call's JSON is another, and what is expected of it is written out.
    const json: any = await response.json();
    return { status: response.status, body: json };
  }

  /** Somebody new, who has signed in with a browser, and has a token too. */
  async function newcomer(email = newEmail()) {
    const browser = new Browser();
    expect((await post(browser, '/auth/sign-up', { email, password: PASSWORD, name: 'Ann' })).status).toBe(200);
    const signIn = await post(browser, '/auth/sign-in', { email, password: PASSWORD });
    expect([signIn.status, signIn.text]).toEqual([200, expect.stringContaining(email)]);
    const other = await post(new Browser(), '/auth/sign-in', { email, password: PASSWORD, want_token: true });
    const { session, token } = JSON.parse(other.text);
    expect(other.headers.getSetCookie()).toEqual([]);
    return { browser, email, token: token as string, user: session.user as string };
  }

  test('two people: one makes an organization and invites the other, whose role holds', async () => {
    const owner = await newcomer();
    const made = await call(owner.token, 'POST', '/v1/organizations', { name: 'Acme' });
    expect(made.status).toBe(200);
    const path = `/v1/organizations/${made.body.slug}`;
    const guestEmail = newEmail();
    const invitation = await call(owner.token, 'POST', `${path}/invitations`, {
      email: guestEmail,
      role: 'ROLE_MEMBER',
    });
    expect(invitation).toMatchObject({ status: 200, body: { token: expect.stringMatching(/^twi_/) } });
    const listed = await call(owner.token, 'GET', `${path}/invitations`);
    expect(JSON.stringify(listed.body)).not.toContain(invitation.body.token);

    const guest = await newcomer(guestEmail);
    expect((await call(guest.token, 'GET', path)).status).toBe(404);
    expect((await call(guest.token, 'GET', '/v1/organizations')).body.organizations).toEqual([]);
    const accept = { invitation: invitation.body.token };
    const accepted = await post(guest.browser, '/auth/accept-invitation', accept);
    expect([accepted.status, JSON.parse(accepted.text)]).toEqual([
      200,
      {
        organization_id: made.body.id,
        member: { user: guest.user, email: guestEmail, role: 'ROLE_MEMBER', create_time: expect.any(String) },
      },
    ]);
    expect((await post(guest.browser, '/auth/accept-invitation', accept)).status).toBe(404);

    expect((await call(guest.token, 'GET', path)).body).toMatchObject({ slug: made.body.slug });
    expect((await call(guest.token, 'POST', `${path}/projects`, { name: 'Web' })).status).toBe(403);
    expect((await call(guest.token, 'GET', `${path}/audit_entries`)).status).toBe(200);
    const member = `${path}/members/${guest.user}`;
    expect((await call(guest.token, 'PATCH', member, { role: 'ROLE_OWNER' })).status).toBe(403);
    expect((await call(owner.token, 'PATCH', member, { role: 'ROLE_ADMIN' })).status).toBe(200);
    expect((await call(guest.token, 'POST', `${path}/projects`, { name: 'Web' })).status).toBe(200);
    expect(
      (await call(guest.token, 'POST', `${path}/invitations`, { email: newEmail(), role: 'ROLE_MEMBER' })).status,
    ).toBe(403);
    expect((await call(owner.token, 'DELETE', member)).status).toBe(200);
    expect((await call(guest.token, 'GET', path)).status).toBe(404);

    const { body } = await call(owner.token, 'GET', `${path}/audit_entries`);
    const actors = body.audit_entries.map(({ actor, action }: Record<string, string>) => `${actor} ${action}`);
    expect(actors).toContain(`user:${guest.user} invitation.accept`);
    expect(actors).toContain(`user:${guest.user} project.create`);
    expect(actors).toContain(`user:${owner.user} member.update`);
  });

  test('a session: its cookie, its rotation, its end', async () => {
    const { browser, email, token, user } = await newcomer();
    const again = await post(browser, '/auth/sign-in', { email, password: PASSWORD });
    expect(again.headers.getSetCookie()).toEqual([
      expect.stringMatching(/^tideway_session=tws_[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=7776000$/),
    ]);
    expect(again.headers.get('access-control-allow-origin')).toBeNull();
    expect(JSON.parse(again.text)).toEqual({
      session: { user, email, name: 'Ann', create_time: expect.any(String), expire_time: expect.any(String) },
    });
    const whoAmI = () => browser.send(`${story.url}/auth/session`);
    expect(JSON.parse((await whoAmI()).text).session.user).toBe(user);
    // A cookie is as good as a token for the API, from a page of the same origin.
    expect((await browser.send(`${story.url}/v1/organizations`)).status).toBe(200);

    const change = await post(browser, '/auth/password', {
      current_password: PASSWORD,
      new_password: 'another password',
    });
    expect(change.status).toBe(200);
    expect((await call(token, 'GET', '/auth/session')).status).toBe(401);
    expect((await whoAmI()).status).toBe(200);
    expect((await post(new Browser(), '/auth/sign-in', { email, password: PASSWORD })).status).toBe(401);

    const cookie = browser.cookie(story.url, 'tideway_session') ?? '';
    expect((await post(browser, '/auth/sign-out', {})).status).toBe(200);
    expect(browser.cookie(story.url, 'tideway_session')).toBeUndefined();
    browser.setCookie(story.url, 'tideway_session', cookie);
    expect((await whoAmI()).status).toBe(401);
    expect((await call(cookie, 'GET', '/v1/organizations')).status).toBe(401);
  });

  test('a token that an attacker has put into the browser is not the one that signing in gives', async () => {
    const attacker = await newcomer();
    const { browser, email } = await newcomer();
    browser.setCookie(story.url, 'tideway_session', attacker.token);
    await post(browser, '/auth/sign-in', { email, password: PASSWORD });
    expect(browser.cookie(story.url, 'tideway_session')).not.toBe(attacker.token);
    const { body } = await call(attacker.token, 'GET', '/auth/session');
    expect(JSON.stringify(body)).not.toContain(email);
    const made = `tws_${'A'.repeat(43)}`;
    const fresh = new Browser();
    fresh.setCookie(story.url, 'tideway_session', made);
    await post(fresh, '/auth/sign-in', { email, password: PASSWORD });
    expect((await call(made, 'GET', '/auth/session')).status).toBe(401);
  });

  test('no page of another origin does anything in its visitor’s name', async () => {
    const { browser, email, token } = await newcomer();
    const evil = 'https://evil.example';
    const bodies: [string, object][] = [
      ['/auth/sign-out', { everywhere: true }],
      ['/auth/password', { current_password: PASSWORD, new_password: 'another password' }],
      ['/auth/sign-in', { email, password: PASSWORD }],
      ['/auth/sign-up', { email: newEmail(), password: PASSWORD }],
      ['/v1/organizations', { name: 'Evil' }],
    ];
    for (const [path, body] of bodies) {
      const answer = await post(browser, path, body, evil);
      expect([path, answer.status]).toEqual([path, expect.toBeOneOf([401, 403])]);
    }
    // An older browser says its page's origin alone.
    const cookie = `tideway_session=${browser.cookie(story.url, 'tideway_session')}`;
    const write = (origin: string | undefined) =>
      fetch(`${story.url}/auth/sign-out`, {
        method: 'POST',
        headers: { cookie, 'content-type': 'application/json', ...(origin === undefined ? {} : { origin }) },
        body: '{}',
      });
    for (const origin of [evil, 'null', story.url.replace('http:', 'https:')]) {
      expect([origin, (await write(origin)).status]).toEqual([origin, 403]);
    }
    // Who says nothing is no browser, and its cookie is worth nothing: nothing ends.
    expect((await write(undefined)).status).toBe(200);
    expect((await call(token, 'GET', '/auth/session')).status).toBe(200);
    expect((await browser.send(`${story.url}/auth/session`)).status).toBe(200);
    expect((await write(story.url)).status).toBe(200);
    expect((await browser.send(`${story.url}/auth/session`)).status).toBe(401);
  });

  test('nothing tells whether there is an account', async () => {
    const { email } = await newcomer();
    const ask = async (path: string, body: object) => fingerprint(await post(new Browser(), path, body));
    for (const [path, more] of [
      ['/auth/sign-in', { password: 'wrong password' }],
      ['/auth/sign-in', { password: 'short' }],
      ['/auth/sign-up', { password: PASSWORD, name: 'Eve' }],
      ['/auth/sign-up', { password: 'short' }],
    ] as const) {
      // The addresses have the same length, so nothing else may differ.
      expect(await ask(path, { email, ...more })).toEqual(await ask(path, { email: newEmail(), ...more }));
    }
  });

  test('guessing is slowed down, whether there is an account or not, and says for how long', async () => {
    const { email } = await newcomer();
    const attack = async (address: string) => {
      const answers: Page[] = [];
      for (let i = 0; i < 11; i++) {
        answers.push(await post(new Browser(), '/auth/sign-in', { email: address, password: `guess number ${i}` }));
      }
      expect(answers.slice(0, 10).map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 401));
      return answers[10];
    };
    for (const address of [email, newEmail()]) {
      const refused = await attack(address);
      expect(refused?.status).toBe(429);
      expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(60);
      expect(JSON.parse(refused?.text ?? '')).toMatchObject({ code: 8, message: 'Too many attempts' });
    }
  });

  test('says what is wrong with a request', async () => {
    const bad = [
      [{ email: 'nobody', password: PASSWORD }, 'email'],
      [{ email: newEmail(), password: 'too short' }, 'password'],
      [{ email: newEmail(), password: 'x'.repeat(1025) }, 'password'],
      [{ email: newEmail(), password: PASSWORD, name: 'two\nlines' }, 'name'],
      [{ email: newEmail(), password: PASSWORD, admin: true }, 'admin'],
    ] as const;
    for (const [body, field] of bad) {
      const answer = await post(new Browser(), '/auth/sign-up', body);
      expect([field, answer.status, answer.text]).toEqual([field, 400, expect.stringContaining(field)]);
      expect(answer.text).not.toContain(PASSWORD);
    }
    expect((await post(new Browser(), '/auth/password', { new_password: 'another password' })).status).toBe(401);
    expect((await post(new Browser(), '/auth/nothing', {})).status).toBe(404);
    expect((await post(new Browser(), '/auth/oidc/start', {})).status).toBe(404);
    expect(story.monolith.output()).not.toContain(PASSWORD);
  });
});

/** Everything of an answer but what is different for each. */
function fingerprint({ status, headers, text }: Page) {
  const same = [...headers].filter(([name]) => !['date', 'x-request-id'].includes(name));
  return { status, headers: Object.fromEntries(same), text };
}
