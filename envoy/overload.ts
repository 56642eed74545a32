import { type JsonObject, seconds, typed } from './json.ts';
import { edgeOverload } from './limits.ts';
import type { EdgeOptions } from './options.ts';

const HEAP = 'envoy.resource_monitors.fixed_heap';

/**
 * What the edge does before its memory ends, so that it isn't the edge that does. Nothing here touches a listener that only
 * reads: first what waits unused goes, then new requests are refused, and at last whoever still sends is cut.
 */
export function overloadManager({ maxHeapBytes, maxConnections }: EdgeOptions): JsonObject {
  return {
    refresh_interval: seconds(edgeOverload.refreshSec),
    resource_monitors: [
      {
        name: HEAP,
        typed_config: typed('envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig', {
          max_heap_size_bytes: maxHeapBytes,
        }),
      },
      {
        name: 'envoy.resource_monitors.global_downstream_max_connections',
        typed_config: typed(
          'envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig',
          { max_active_downstream_connections: maxConnections },
        ),
      },
    ],
    actions: [
      { name: 'envoy.overload_actions.shrink_heap', triggers: [above(edgeOverload.shrinkHeapFrom)] },
      {
        name: 'envoy.overload_actions.reduce_timeouts',
        triggers: [between(edgeOverload.shortenIdle)],
        typed_config: typed('envoy.config.overload.v3.ScaleTimersOverloadActionConfig', {
          // Of connections without a request alone. A stream's would cut listeners between two keep-alives.
          timer_scale_factors: [
            { timer: 'HTTP_DOWNSTREAM_CONNECTION_IDLE', min_timeout: seconds(edgeOverload.shortestIdleSec) },
          ],
        }),
      },
      { name: 'envoy.overload_actions.stop_accepting_requests', triggers: [above(edgeOverload.refuseFrom)] },
    ],
    // What was begun before may still grow. These act on what arrives.
    loadshed_points: ['http1_server_abort_dispatch', 'http2_server_go_away_and_close_on_dispatch'].map((point) => ({
      name: `envoy.load_shed_points.${point}`,
      triggers: [above(edgeOverload.cutFrom)],
    })),
  };
}

function above(value: number): JsonObject {
  return { name: HEAP, threshold: { value } };
}

function between([scaling, saturation]: readonly [number, number]): JsonObject {
  return { name: HEAP, scaled: { scaling_threshold: scaling, saturation_threshold: saturation } };
}
