/**
 * Who called the edge, by the word of the proxies that are ours: each adds the address that it was called from at the end
 * of `x-forwarded-for`. What stands before those is the caller's own word, and worth nothing.
 */
export function clientAddress(headers: Headers, trustedHops: number): string {
  const addresses = (headers.get('x-forwarded-for') ?? '').split(',').map((address) => address.trim());
  // Without the edge there is no such header: then all callers share a limit.
  return addresses.at(-1 - trustedHops) ?? addresses[0] ?? '';
}
