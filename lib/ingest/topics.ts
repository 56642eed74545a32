/** The topics of the log, by the names that Sentry's services have for them; and those of ours. */
export const TOPICS = {
  /** Events of category error, default and security. */
  events: 'ingest-events',
  /** Events with attachments or user reports, and the pieces of these, before their event. */
  attachments: 'ingest-attachments',
  transactions: 'ingest-transactions',
  feedback: 'ingest-feedback-events',
  /** What was refused, and why. */
  outcomes: 'outcomes',
  /** The part of it that bills are made from: what was accepted, and what was over a quota. */
  billing: 'outcomes-billing',
} as const;

export type Topic = (typeof TOPICS)[keyof typeof TOPICS];

/** What the events consumer saves. */
export const INGEST_TOPICS: readonly Topic[] = [
  TOPICS.events,
  TOPICS.attachments,
  TOPICS.transactions,
  TOPICS.feedback,
];

export const OUTCOME_TOPICS: readonly Topic[] = [TOPICS.outcomes, TOPICS.billing];

/** Where records of a topic go that can't be handled, with the reason, until somebody replays them. */
export function deadLetterTopic(topic: string): string {
  return `${topic}-dead-letter`;
}

/** Those who read the topics. By these names the log and the store know how far each has come: never changed. */
export const GROUPS = {
  /** Saves what {@link INGEST_TOPICS} have. */
  events: 'events',
  /** Counts what {@link OUTCOME_TOPICS} have. */
  outcomes: 'outcomes',
  /** Appends dead letters again, where somebody asks for it. */
  replay: 'dead-letter-replay',
} as const;
