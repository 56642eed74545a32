import { isObject, type JsonObject, parseJsonText } from '../json.ts';
import type { Draft } from './draft.ts';
import { trim } from './trim.ts';

/** A request's parts are where one looks for them: of the URL, the cookies, the body. */
export function normalizeRequest({ event, notes }: Draft): void {
  const request = event['request'];
  if (!isObject(request)) return;
  splitUrl(request);
  if (typeof request['url'] === 'string') request['url'] = trim(request['url'], 'url', notes, ['request', 'url']);
  if (typeof request['method'] === 'string') request['method'] = request['method'].toUpperCase();
  moveCookies(request);
  const data = request['data'];
  if (typeof data === 'string' && /^\s*[[{]/.test(data)) {
    const body = parseJsonText(data);
    if (body !== undefined) request['data'] = body;
  }
}

/** The value of a request's header; undefined: it has none. */
export function headerOf(event: JsonObject, name: string): string | undefined {
  const request = event['request'];
  const headers = isObject(request) ? request['headers'] : undefined;
  const found = findHeader(headers, name);
  return typeof found?.[1] === 'string' ? found[1] : undefined;
}

function splitUrl(request: JsonObject): void {
  const url = request['url'];
  if (typeof url !== 'string') return;
  const hash = url.indexOf('#');
  const bare = hash === -1 ? url : url.slice(0, hash);
  const mark = bare.indexOf('?');
  if (hash === -1 && mark === -1) return;
  if (hash !== -1) request['fragment'] ??= url.slice(hash + 1);
  if (mark !== -1 && isEmpty(request['query_string'])) request['query_string'] = bare.slice(mark + 1);
  request['url'] = mark === -1 ? bare : bare.slice(0, mark);
}

function moveCookies(request: JsonObject): void {
  const headers = request['headers'];
  if ((request['cookies'] ?? null) !== null) return;
  const found = findHeader(headers, 'cookie');
  if (found === undefined || typeof found[1] !== 'string') return;
  const cookies = found[1].split(';').map((part): [string, string] => {
    const at = part.indexOf('=');
    return at === -1 ? [part.trim(), ''] : [part.slice(0, at).trim(), part.slice(at + 1).trim()];
  });
  request['cookies'] = cookies.filter(([name]) => name !== '');
  if (Array.isArray(headers)) request['headers'] = headers.filter((pair) => pair?.[0] !== found[0]);
  else (headers as JsonObject)[found[0]] = undefined;
}

/** Headers are an object or a list of pairs; with its name as it was sent. */
function findHeader(headers: unknown, name: string): readonly [string, unknown] | undefined {
  if (isObject(headers)) {
    for (const key of Object.keys(headers)) if (isName(key, name)) return [key, headers[key]];
  } else if (Array.isArray(headers)) {
    for (const pair of headers) {
      if (Array.isArray(pair) && typeof pair[0] === 'string' && isName(pair[0], name)) return [pair[0], pair[1]];
    }
  }
  return undefined;
}

function isName(key: string, name: string): boolean {
  return key.length === name.length && key.toLowerCase() === name;
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0);
}
