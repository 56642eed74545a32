/** How a publisher sends its messages. */
export const PUBLISH_KINDS = {
  /** Conduit's POST, one message a request. */
  http: { messagesPerRequest: 1 },
  /** PublishBatch by Connect, a request a channel. */
  batch: { messagesPerRequest: 100 },
  /** PublishStream by gRPC: so many messages of a call may be without an answer. */
  stream: { messagesPerRequest: 1, unanswered: 64 },
} as const;

export type PublishKind = keyof typeof PUBLISH_KINDS;
