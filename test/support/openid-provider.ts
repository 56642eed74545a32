import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import Provider from 'oidc-provider';
import type { Browser, Page } from './browser.ts';
import { freePort } from './free-port.ts';

/** A real OpenID provider on a free port of 127.0.0.1, with its own sign-in pages. */
export interface OpenIdProvider extends AsyncDisposable {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** What it says of who signs in there by this name. */
  knows(
    login: string,
    claims: { readonly email?: string; readonly email_verified?: boolean; readonly name?: string },
  ): void;
  /** Goes through its pages, which begin at `page`, as a user does, and on to where it sends them. */
  signIn(browser: Browser, page: Page, login: string): Promise<Page>;
  stop(): Promise<void>;
  /** Again, on the same port, with what it knew. */
  start(): Promise<void>;
}

export async function startOpenIdProvider(redirectUri: string): Promise<OpenIdProvider> {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const [clientId, clientSecret] = ['tideway', crypto.randomUUID()];
  const accounts = new Map<string, Readonly<Record<string, unknown>>>();
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: clientId,
        client_secret: clientSecret,
        redirect_uris: [redirectUri],
        token_endpoint_auth_method: 'client_secret_post',
      },
    ],
    pkce: { required: () => true },
    claims: { email: ['email', 'email_verified'], profile: ['name'] },
    cookies: { keys: [crypto.randomUUID()] },
    findAccount: (_context, login) => ({
      accountId: login,
      claims: () => ({ sub: login, ...accounts.get(login) }),
    }),
  });
  const answer = provider.callback();
  let server: Server | undefined;
  const start = async () => {
    server = createServer(answer).listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  const stop = async () => {
    if (server === undefined) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    server = undefined;
    await closed;
  };
  await start();
  return {
    issuer,
    clientId,
    clientSecret,
    knows: (login, claims) => void accounts.set(login, claims),
    async signIn(browser, page, login) {
      const consent = await browser.submit(page, { login, password: 'any' });
      return browser.submit(consent, {});
    },
    stop,
    start,
    [Symbol.asyncDispose]: stop,
  };
}
