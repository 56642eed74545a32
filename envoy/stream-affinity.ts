import type { JsonObject } from './json.ts';
import { edgeSizes } from './limits.ts';
import type { StreamAffinity } from './options.ts';

// Where a stream process follows a channel, it does so once for all of its listeners of it. Kept together, they cost one
// subscription instead of one in each process.

/** The channel that a typed call listens to, for the edge alone: in its body it can't be seen. */
export const CHANNEL_HEADER = 'tideway-channel';

/** For the cluster's balancing. */
export function balancedBy(affinity: StreamAffinity, commonLb: JsonObject): JsonObject {
  if (affinity === 'none') return {};
  const bound = { hash_balance_factor: edgeSizes.affinityBoundPercent };
  return {
    // Requests without a hash go to any, within the same bound.
    lb_policy: 'MAGLEV',
    common_lb_config: { ...commonLb, consistent_hashing_lb_config: bound },
  };
}

/** For a route on which one channel is listened to. Whatever form it has, the hash is of the same letters. */
export function hashedBy(affinity: StreamAffinity): JsonObject {
  if (affinity === 'none') return {};
  return {
    hash_policy: [
      { query_parameter: { name: 'channel_id' }, terminal: true },
      {
        // What the transcoder left of the JSON form.
        header: {
          header_name: 'x-envoy-original-path',
          regex_rewrite: {
            pattern: { regex: '^/v1/organizations/[^/]+/channels/([^/?]+)/messages:subscribe.*$' },
            substitution: '\\1',
          },
        },
        terminal: true,
      },
      { header: { header_name: CHANNEL_HEADER } },
    ],
  };
}
