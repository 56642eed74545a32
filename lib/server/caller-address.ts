import { isIP } from 'node:net';
import type { Env } from './env.ts';

/** How many proxies of ours are in front of the edge. @throws ConfigError */
export function trustedHops(env: Env): number {
  return env.integer('EDGE_TRUSTED_HOPS', 0, 0, 10);
}

/**
 * Who called the edge, by the word of the proxies that are ours: each adds the address that it was called from at the end
 * of `x-forwarded-for`. What stands before those is the caller's own word, and worth nothing.
 */
export function callerAddress(forwardedFor: string | null | undefined, trustedHops: number): string {
  const addresses = (forwardedFor ?? '').split(',').map((address) => address.trim());
  // Without the edge there is no such header: then all callers share a limit.
  const address = addresses.at(-1 - trustedHops) ?? addresses[0] ?? '';
  return addressIn(address) ?? address;
}

/** Some proxies tell the port, too. A server on both protocols tells IPv4 in IPv6's form. */
export function addressIn(text: string): string | undefined {
  const mapped = /^::ffff:([0-9.]+)$/i.exec(text)?.[1];
  if (mapped !== undefined && isIP(mapped) === 4) return mapped;
  if (isIP(text) !== 0) return text;
  const inner = /^\[([0-9a-f:.]+)\](?::\d+)?$/i.exec(text)?.[1] ?? /^([0-9.]+):\d+$/.exec(text)?.[1];
  return inner !== undefined && isIP(inner) !== 0 ? inner : undefined;
}

/** What limits are counted by: of IPv6 the network, of which a caller has all addresses. */
export function networkOf(text: string): string {
  const address = addressIn(text) ?? text;
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('::', 2);
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const groups = [...left, ...Array.from({ length: zeros }, () => '0'), ...right];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}
