import { OidcAwayError, type OidcFlow, type OidcProvider, OidcRefusedError } from '#lib/accounts/oidc.ts';
import type { OwnCookie } from '#lib/accounts/session-cookie.ts';
import type { HttpCall, HttpRoute } from '#lib/server/http-route.ts';
import type { NodeServerRequest, NodeServerResponse } from '#lib/server/node-http.ts';
import { invalidField, Refusal } from '#lib/server/refusal.ts';
import { type AccountsFace, setSession, signedIn } from './account-service.ts';

export interface OidcFace extends AccountsFace {
  readonly provider: OidcProvider;
  /** Where what belongs to a sign-in under way is kept: in the browser that began it, and nowhere else. */
  readonly flowCookie: OwnCookie;
}

interface StoredFlow extends OidcFlow {
  readonly returnTo: string;
}

const FLOW_MAX_AGE_SEC = 600;
const MAX_RETURN_TO_LENGTH = 512;
const CALLBACK_PATH = '/auth/oidc/callback';

/**
 * Signing in at an OpenID provider, for browsers: `GET /auth/oidc/start?return_to=/path` goes there, and its redirect
 * comes back to `/auth/oidc/callback`, which sets the session's cookie and goes on to the path.
 */
export function oidcRoutes(face: OidcFace): HttpRoute[] {
  return [
    { methods: ['GET'], path: /^\/auth\/oidc\/start$/, cors: false, handle: (call) => start(face, call) },
    { methods: ['GET'], path: /^\/auth\/oidc\/callback$/, cors: false, handle: (call) => finish(face, call) },
  ];
}

async function start(face: OidcFace, { request, response, query }: HttpCall): Promise<void> {
  const returnTo = query.get('return_to') ?? '/';
  if (!isOwnPath(returnTo)) throw invalidField('return_to', 'must be a path of this site');
  const { url, flow } = await refusing(() => face.provider.begin(redirectUri(face, request)));
  redirect(response, url, [face.flowCookie.set(encode({ ...flow, returnTo }), FLOW_MAX_AGE_SEC)]);
}

async function finish(face: OidcFace, { request, response, query }: HttpCall): Promise<void> {
  const { accounts, cookie, flowCookie, provider } = face;
  const headers = headersOf(request);
  const flow = decode(flowCookie.read(headers));
  if (flow === undefined) throw new Refusal('identity_refused', { text: 'No sign-in was begun in this browser' });
  const identity = await refusing(() => provider.finish(redirectUri(face, request), query.toString(), flow));
  const begun = signedIn(await accounts.signInByIdentity(identity));
  // The provider's redirect is another site's; the flow that it belongs to was begun by this browser.
  const before = cookie.read(headers);
  const session = before === undefined ? undefined : await accounts.session(before);
  if (session !== undefined) await accounts.signOut(session);
  redirect(response, flow.returnTo, [setSession(cookie, begun), flowCookie.clear()]);
}

async function refusing<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof OidcAwayError) throw new Refusal('identity_away', { cause: error });
    if (error instanceof OidcRefusedError) throw new Refusal('identity_refused', { cause: error });
    throw error;
  }
}

/** A path, and nothing that a browser could take for another host. */
function isOwnPath(path: string): boolean {
  return path.length <= MAX_RETURN_TO_LENGTH && /^\/(?![/\\])[!-~]*$/.test(path) && !path.includes('\\');
}

function redirectUri({ publicUrl }: OidcFace, request: NodeServerRequest): string {
  return `${publicUrl ?? originOfRequest(request)}${CALLBACK_PATH}`;
}

function originOfRequest(request: NodeServerRequest): string {
  const headers = headersOf(request);
  const scheme = headers.get('x-forwarded-proto') === 'https' ? 'https' : 'http';
  const host = 'authority' in request ? request.authority : headers.get('host');
  if (!host || !URL.canParse(`${scheme}://${host}`)) throw new Refusal('invalid_argument', { text: 'No host' });
  return new URL(`${scheme}://${host}`).origin;
}

function headersOf(request: NodeServerRequest): Headers {
  const headers = new Headers();
  for (const name of ['cookie', 'host', 'x-forwarded-proto']) {
    const value = request.headers[name];
    if (typeof value === 'string') headers.set(name, value);
  }
  return headers;
}

function redirect(response: NodeServerResponse, location: string, cookies: string[]): void {
  response.setHeader('Location', location);
  response.setHeader('Set-Cookie', cookies);
  response.setHeader('Cache-Control', 'no-store');
  response.setHeader('Referrer-Policy', 'no-referrer');
  response.writeHead(302);
  response.end();
}

function encode(flow: StoredFlow): string {
  return Buffer.from(JSON.stringify(flow)).toString('base64url');
}

function decode(text: string | undefined): StoredFlow | undefined {
  try {
    const flow: Partial<Record<keyof StoredFlow, unknown>> = JSON.parse(
      Buffer.from(text ?? '', 'base64url').toString(),
    );
    const { state, nonce, codeVerifier, returnTo } = flow;
    if (!isText(state) || !isText(nonce) || !isText(codeVerifier) || !isText(returnTo)) return undefined;
    return isOwnPath(returnTo) ? { state, nonce, codeVerifier, returnTo } : undefined;
  } catch {
    return undefined;
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
