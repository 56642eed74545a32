import { isObject, type JsonObject } from '../json.ts';
import type { Origin } from '../normalize/draft.ts';
import { headerOf } from '../normalize/request.ts';

/** Of a normalized event, what filters ask for. */

export function exceptionsOf(event: JsonObject): readonly JsonObject[] {
  const exception = event['exception'];
  const values = isObject(exception) ? exception['values'] : undefined;
  return Array.isArray(values) ? values.filter(isObject) : [];
}

/** No browser says more; what is longer may take long to read. */
const MAX_USER_AGENT_CHARS = 1024;

/** The browser: of the request that the event is about, else of the one that brought it. */
export function userAgentOf(event: JsonObject, sender: Origin['sender']): string | undefined {
  return (headerOf(event, 'user-agent') ?? sender.userAgent)?.slice(0, MAX_USER_AGENT_CHARS);
}

export function userIpOf(event: JsonObject): string | undefined {
  const user = event['user'];
  const ip = isObject(user) ? user['ip_address'] : undefined;
  return typeof ip === 'string' ? ip : undefined;
}

export function urlOf(event: JsonObject): string | undefined {
  const request = event['request'];
  const url = isObject(request) ? request['url'] : undefined;
  return typeof url === 'string' ? url : undefined;
}
