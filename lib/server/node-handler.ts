import type { connectNodeAdapter } from '@connectrpc/connect-node';

/** Answers requests of HTTP/1.1 and h2 alike; what connectNodeAdapter makes. */
export type NodeHandler = ReturnType<typeof connectNodeAdapter>;
