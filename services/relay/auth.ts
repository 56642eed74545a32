import type { IncomingHttpHeaders } from 'node:http';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import { queryParameter } from './http-query.ts';

/** What a request says of who sends it. */
export interface Auth {
  /** 32 lower-case hex digits. */
  readonly publicKey: string;
  /** The SDK, as `sentry.python/2.1`. */
  readonly client: string | undefined;
}

const VERSION = 7;
const MAX_CLIENT_LENGTH = 256;
const SCHEME = 'sentry ';

/**
 * Whom a request is from, by the one place that says so: `X-Sentry-Auth`, `Authorization: Sentry …`, the user name of
 * `Authorization: Basic`, or the query. Undefined: none does. A query that has parameters of ours but no key says nothing
 * beside a header: `sentry_data` and `sentry_release` go there, too.
 * @throws EnvelopeRefusal
 */
export function readAuth(headers: IncomingHttpHeaders, query: string): Auth | undefined {
  const auth = authOfAny(headers, query);
  if (auth === undefined) return undefined;
  const { 'x-sentry-auth': own, authorization } = headers;
  const isLong = query.length + (own?.length ?? 0) + (authorization?.length ?? 0) > USUAL_LENGTH;
  return isLong ? alone(auth) : auth;
}

const USUAL_LENGTH = 1024;

/** Parts of a text keep all of it: of what an envelope waits with, and by which projects are known. */
function alone({ publicKey, client }: Auth): Auth {
  return {
    publicKey: Buffer.from(publicKey).toString(),
    client: client === undefined ? undefined : Buffer.from(client).toString(),
  };
}

function authOfAny(headers: IncomingHttpHeaders, query: string): Auth | undefined {
  let auth: Auth | undefined;
  const own = headers['x-sentry-auth'];
  // A header that comes twice arrives joined by a comma, and is found by that.
  if (own !== undefined) auth = fromHeader(typeof own === 'string' ? own : own.join(','));
  const { authorization } = headers;
  if (authorization !== undefined) {
    const also = fromAuthorization(authorization);
    if (also !== undefined && auth !== undefined) throw new EnvelopeRefusal('multiple_auth');
    auth ??= also;
  }
  if (query.includes('sentry_')) {
    if (auth === undefined) return fromQuery(query);
    if (queryParameter(query, 'sentry_key') !== undefined) throw new EnvelopeRefusal('multiple_auth');
  }
  return auth;
}

/** As 32 hex digits, and after a dot what a DSN may say of how to look it up: we need none of it. @throws EnvelopeRefusal */
export function readPublicKey(text: string): string {
  if (KEY.test(text)) return text;
  const dot = text.indexOf('.');
  const key = (dot < 0 ? text : text.slice(0, dot)).toLowerCase();
  if (!KEY.test(key) || (dot >= 0 && !FLAGS.test(text.slice(dot)))) throw new EnvelopeRefusal('invalid_key');
  return key;
}

const KEY = /^[0-9a-f]{32}$/;
const FLAGS = /^(\.[a-z-]{1,32}){1,4}$/i;

function fromAuthorization(value: string): Auth | undefined {
  if (isSentry(value)) return fromHeader(value);
  if (!/^basic /i.test(value)) return undefined;
  const pair = Buffer.from(value.slice('basic '.length).trim(), 'base64').toString('latin1');
  const colon = pair.indexOf(':');
  const key = colon < 0 ? pair : pair.slice(0, colon);
  if (key === '') throw new EnvelopeRefusal('missing_key');
  return { publicKey: readPublicKey(key), client: undefined };
}

function isSentry(value: string): boolean {
  return value.length >= SCHEME.length && value.slice(0, SCHEME.length).toLowerCase() === SCHEME;
}

/** `Sentry sentry_key=…, sentry_version=7, …` in any order. */
function fromHeader(value: string): Auth {
  if (!isSentry(value)) throw new EnvelopeRefusal('invalid_auth');
  let key: string | undefined;
  let version: string | undefined;
  let client: string | undefined;
  for (let from = SCHEME.length; from < value.length; ) {
    const comma = value.indexOf(',', from);
    const end = comma < 0 ? value.length : comma;
    const equals = value.indexOf('=', from);
    if (equals > 0 && equals < end) {
      const text = value.slice(equals + 1, end).trim();
      const name = value.slice(from, equals).trim();
      switch (name) {
        case 'sentry_key':
          if (key !== undefined) throw new EnvelopeRefusal('multiple_auth');
          key = text;
          break;
        case 'sentry_version':
          version = text;
          break;
        case 'sentry_client':
          client = text;
          break;
        default:
          if (isSentry(name)) throw new EnvelopeRefusal('multiple_auth');
      }
    }
    from = end + 1;
  }
  return authOf(key, version, client);
}

function fromQuery(query: string): Auth {
  return authOf(
    queryParameter(query, 'sentry_key'),
    queryParameter(query, 'sentry_version'),
    queryParameter(query, 'sentry_client'),
  );
}

function authOf(key: string | undefined, version: string | undefined, client: string | undefined): Auth {
  if (key === undefined || key === '') throw new EnvelopeRefusal('missing_key');
  if (version !== undefined && version !== '7') checkVersion(version);
  return { publicKey: readPublicKey(key), client: readClient(client) };
}

/** As `7` or `2.0`. */
function checkVersion(version: string): void {
  if (!/^\d{1,4}(\.\d{1,9})*$/.test(version) || Number.parseInt(version, 10) > VERSION) {
    throw new EnvelopeRefusal('invalid_version');
  }
}

function readClient(client: string | undefined): string | undefined {
  return client === undefined || client === '' ? undefined : client.slice(0, MAX_CLIENT_LENGTH);
}
