import type { JsonObject } from '../json.ts';
import { headerOf } from '../normalize/request.ts';
import { urlOf, userIpOf } from './event-parts.ts';

const ADDRESSES: ReadonlySet<string> = new Set(['127.0.0.1', '::1']);
const HOSTS = ['localhost', '127.0.0.1'];

/** From a developer's own machine: by the user's address, the page's, or the host that was asked. */
export function localhost(event: JsonObject): boolean {
  const ip = userIpOf(event);
  if (ip !== undefined && ADDRESSES.has(ip)) return true;
  const url = urlOf(event)?.toLowerCase();
  if (url !== undefined && (url.startsWith('file:') || isLocal(hostOfUrl(url)))) return true;
  return ['host', 'x-forwarded-host'].some((name) => {
    const host = headerOf(event, name);
    return host !== undefined && isLocal(withoutPort(host.trim().toLowerCase()));
  });
}

/** Empty: it has none. What browsers report is often no URL that a parser takes. */
export function hostOfUrl(url: string): string {
  const start = url.indexOf('://');
  if (start === -1) return '';
  const rest = url.slice(start + 3);
  const end = rest.search(/[/?#]/);
  const authority = end === -1 ? rest : rest.slice(0, end);
  return withoutPort(authority.slice(authority.lastIndexOf('@') + 1));
}

export function withoutPort(host: string): string {
  if (host.startsWith('[')) return host.slice(1, host.indexOf(']') === -1 ? undefined : host.indexOf(']'));
  const colon = host.indexOf(':');
  return colon === -1 ? host : host.slice(0, colon);
}

function isLocal(host: string): boolean {
  return ADDRESSES.has(host) || HOSTS.some((each) => host === each || host.endsWith(`.${each}`));
}
