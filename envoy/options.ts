/** One process that answers for a service. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export type StreamAffinity = 'none' | 'channel';

/** What differs between one edge and another. Everything else is the same everywhere. */
export interface EdgeOptions {
  /** Port 0 takes a free one. */
  readonly listen: Endpoint;
  /** The admin interface can stop Envoy and reads its memory: never beyond the machine. */
  readonly admin: { readonly socketPath: string } | { readonly loopbackPort: number };
  readonly upstreams: {
    readonly publish: readonly Endpoint[];
    readonly stream: readonly Endpoint[];
    readonly control: readonly Endpoint[];
    readonly config: readonly Endpoint[];
    readonly events: readonly Endpoint[];
    readonly relay: readonly Endpoint[];
    /** Takes every path that nobody else has. Without it they are 404. */
    readonly web?: readonly Endpoint[];
  };
  /**
   * What decides which stream process a listener comes to. `none`: how busy they are. `channel`: its channel, as long as the
   * process has no more than its share.
   */
  readonly streamAffinity: StreamAffinity;
  /** Server reflection tells everybody what can be called. Not in production. */
  readonly reflection: boolean;
  /** Requests a second from one client address (an IPv6 /64 is one); twice as many at once. 0: any number. */
  readonly ratePerAddressPerSec: number;
  /** How many proxies of one's own stand before this one: that many X-Forwarded-For entries are believed. */
  readonly trustedHops: number;
  readonly accessLog: boolean;
  readonly maxConnections: number;
  /** What Envoy may allocate. Near it, it refuses and cuts; its process takes more by code and stacks. */
  readonly maxHeapBytes: number;
  /** Ends connections whose peer stopped acknowledging. The option's number is Linux's own. */
  readonly tcpUserTimeout: boolean;
  /** The contracts that JSON is transcoded by: a serialized google.protobuf.FileDescriptorSet. */
  readonly descriptorSet: Uint8Array;
}
