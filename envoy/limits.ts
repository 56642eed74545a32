/**
 * The edge's timeouts and bounds. Several only make sense in relation to what the services do; limits.test.ts reads both
 * sides and proves the order.
 */
export const edgeTimeouts = {
  /** A listener's stream without a byte for this long is dead: three of the services' keep-alives. */
  listenIdleSec: 45,
  /** A publisher's stream may pause for this long between two messages. Dead peers are found by HTTP/2 pings. */
  publishStreamIdleSec: 600,
  /** A health or reflection stream may be silent for this long. */
  controlIdleSec: 300,
  /** A unary answer, all tries together. Longer than any deadline inside a service, so that the service answers. */
  unarySec: 15,
  /** A whole unary exchange, the reading of a slowly sent body included. */
  unaryExchangeSec: 30,
  /** From an event's first byte to its answer: attachments may be large, and come from anywhere. */
  intakeExchangeSec: 300,
  /** All request headers must be there within this. */
  requestHeadersSec: 10,
  /** Any other stream without a byte. */
  streamIdleSec: 30,
  /** A client's connection without a request. */
  downstreamIdleSec: 120,
  /** A connection to a service without a request. Shorter than Node's keep-alive, or requests meet closed sockets. */
  upstreamIdleSec: 60,
  connectSec: 2,
  /** HTTP/2 pings find half-open connections on both sides. */
  pingIntervalSec: 15,
  pingTimeoutSec: 5,
  /** What was sent and stays unacknowledged for this long ends the connection (Linux). */
  unacknowledgedSec: 60,
} as const;

export const edgeHealthCheck = {
  intervalSec: 1,
  timeoutSec: 1,
  /** Two, so that one long garbage collection takes no service out. */
  failuresUntilOut: 2,
} as const;

/**
 * How often in a row Envoy must fail to reach a process (a reset is that, too) before it asks it no more for some seconds. A
 * request is tried as often again: whoever comes first to a process that has died finds another with the last try.
 */
export const edgeEjection = {
  failuresUntilOut: 3,
  /**
   * Listeners that are too slow are cut by a reset: that many at one moment are no reason to keep others from a process. One
   * that died must be found all the same, as the bound on shares would send its listeners there again.
   */
  streamFailuresUntilOut: 10,
} as const;

/** How long a service that says NOT_SERVING may still be given new requests. A drain waits for longer. */
export const drainNoticeSec = edgeHealthCheck.failuresUntilOut * edgeHealthCheck.intervalSec;

export const edgeSizes = {
  /** Below what the services take, with room for what Envoy adds: it is Envoy that refuses. */
  requestHeadersKiB: 15,
  requestHeadersCount: 90,
  /**
   * A publish of 16,384 bytes grows up to sixfold as JSON (every byte an escape), and has names. What is larger is 413
   * at the edge; what is smaller is measured by the service.
   */
  transcodedBodyBytes: 131_072,
  /** A page of a thousand projects with all their settings, or an event of a megabyte, each byte an escape. */
  transcodedAnswerBytes: 16_777_216,
  /** What a request may occupy in case it has to be sent again. Above every legal publish. */
  retryBufferBytes: 65_536,
  /** What a slow client may leave in Envoy before Envoy stops reading from the service. */
  connectionBufferBytes: 65_536,
  streamWindowBytes: 65_536,
  /** Client to Envoy. */
  downstreamConnectionWindowBytes: 1_048_576,
  downstreamStreamsPerConnection: 250,
  /**
   * Service to Envoy. A stalled listener keeps a whole stream window of the connection's; with fewer bytes than
   * streams × window, a few stalled listeners would stop everybody on their connection.
   */
  upstreamConnectionWindowBytes: 16_777_216,
  upstreamStreamsPerConnection: 200,
  /**
   * The same for connections of listeners. The service writes to all listeners of a connection at once, so that more of them on
   * one is cheaper; it does so where the window is as large as this (`lib/server/h2-lanes/wants-lanes.ts`).
   */
  listenersConnectionWindowBytes: 67_108_864,
  listenersPerConnection: 500,
  /** Connections of clients, and with it the listeners over HTTP/1.1. More are refused. */
  downstreamConnections: 25_000,
  /** What Envoy may allocate. All connections as idle listeners are three quarters of it. */
  heapMiB: 1_536,
  /** Streams to one service. Every listener is one. Above `downstreamConnections`: HTTP/2 clients have several. */
  upstreamStreams: 50_000,
  /** To one service; of those that SDKs send over, to one relay. */
  upstreamConnections: 2_048,
  /**
   * Where a channel's listeners are kept together: what a stream process may have of the average, before others get the
   * listeners that would come to it.
   */
  affinityBoundPercent: 125,
} as const;

/** Shares of the heap from which the edge defends itself, mildest first. */
export const edgeOverload = {
  /** How far memory may run ahead: what can arrive within this must fit between the heap and what the machine has. */
  refreshSec: 0.25,
  shrinkHeapFrom: 0.8,
  /** Connections without a request are closed after less and less. */
  shortenIdle: [0.8, 0.9],
  shortestIdleSec: 2,
  /** New requests are answered 503. */
  refuseFrom: 0.9,
  /** Whoever sends anything is cut. */
  cutFrom: 1,
} as const;
