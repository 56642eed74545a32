import type { ClientHttp2Session } from 'node:http2';
import { LANES_FROM_WINDOW_BYTES } from './wants-lanes.ts';

/** Has a client of the tests ask for lanes, as Envoy does: with its first bytes. */
export function askForLanes(session: ClientHttp2Session): void {
  session.once('connect', () => session.setLocalWindowSize(2 * LANES_FROM_WINDOW_BYTES));
}
