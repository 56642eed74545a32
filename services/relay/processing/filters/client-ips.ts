import { BlockList, isIP } from 'node:net';
import type { PlainFilters } from '../../processing.ts';
import { userIpOf } from './event-parts.ts';
import type { Filter } from './filter.ts';

/** By the address that sent the event, and by the user's: of a server's events the latter is what is meant. */
export function clientIps({ clientIps: addresses }: PlainFilters): Filter | undefined {
  if (addresses.length === 0) return undefined;
  const blocked = new BlockList();
  for (const address of addresses) add(blocked, address);
  return (event, sender) => isBlocked(blocked, sender.remoteAddr) || isBlocked(blocked, userIpOf(event));
}

/** What is no address or network blocks nothing. */
function add(blocked: BlockList, address: string): void {
  const [network = '', bits] = address.trim().split('/');
  const version = isIP(network);
  if (version === 0) return;
  const family = version === 4 ? 'ipv4' : 'ipv6';
  if (bits === undefined) blocked.addAddress(network, family);
  else if (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128)) {
    blocked.addSubnet(network, Number(bits), family);
  }
}

function isBlocked(blocked: BlockList, address: string | undefined): boolean {
  const version = address === undefined ? 0 : isIP(address);
  return version !== 0 && blocked.check(address!, version === 4 ? 'ipv4' : 'ipv6');
}
