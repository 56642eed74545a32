import type { IncomingHttpHeaders } from 'node:http';
import { addressIn } from '#lib/server/caller-address.ts';

/**
 * Where a request comes from: the first address of the first header that names one, else the other end of the connection.
 *
 * That is the word of whoever sends it, as the event itself is, and is believed no further than the event: our edge adds
 * the address that it was called from at the end of `x-forwarded-for` and leaves what stands before it, because between an
 * application and us there may be proxies of theirs, and it is the user before those whom they want to see. Nothing may be
 * allowed by it. Limits are counted by key, and never by this; what must know the caller's own address counts from the end
 * (lib/server/caller-address.ts).
 */
export function clientAddressOf(headers: IncomingHttpHeaders, peer: string | undefined): string | undefined {
  for (const name of HEADERS) {
    const value = headers[name];
    if (value === undefined) continue;
    const address = firstOf(typeof value === 'string' ? value : (value[0] ?? ''));
    if (address !== undefined) return address;
  }
  return peer === undefined ? undefined : addressIn(peer);
}

const HEADERS = ['cf-connecting-ip', 'x-vercel-forwarded-for', 'x-sentry-forwarded-for', 'x-forwarded-for'] as const;

function firstOf(list: string): string | undefined {
  const comma = list.indexOf(',');
  return addressIn((comma < 0 ? list : list.slice(0, comma)).trim());
}
