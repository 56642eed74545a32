/**
 * The tables, for both databases. Every whole number is 64 bits and read as bigint; times are ms since 1970, days are days
 * since 1970. Event ids are 16 bytes. `expires_day`: see days.ts.
 */
export interface EventSchema {
  event_ids: EventIdTable;
  events: EventTable;
  attachments: AttachmentTable;
  attachment_chunks: AttachmentChunkTable;
  user_reports: UserReportTable;
  outcome_hours: OutcomeHourTable;
  outcome_totals: OutcomeTotalTable;
  log_positions: LogPositionTable;
  outcome_writers: OutcomeWriterTable;
}

/** Which events there are: what makes an id unique in its project, and leads from the id to the event. */
export interface EventIdTable {
  project_id: bigint;
  event_id: Uint8Array;
  received_ms: bigint;
  expires_day: bigint;
}

/** On PostgreSQL partitioned by `expires_day`. */
export interface EventTable {
  project_id: bigint;
  received_ms: bigint;
  event_id: Uint8Array;
  organization_id: bigint;
  expires_day: bigint;
  key_id: bigint;
  time_ms: bigint;
  category: string;
  level: string;
  title: string;
  culprit: string;
  platform: string;
  release: string;
  environment: string;
  transaction_name: string;
  user_label: string;
  sdk: string;
  search_text: string;
  /** As body-codec.ts has it. */
  body_encoding: bigint;
  body: Uint8Array;
}

export interface AttachmentTable {
  project_id: bigint;
  event_id: Uint8Array;
  id: string;
  organization_id: bigint;
  expires_day: bigint;
  filename: string;
  content_type: string;
  attachment_type: string;
  size_bytes: bigint;
  /** Where its chunks are: they may have come on another day than their event. */
  chunks_from_day: bigint;
  chunks_to_day: bigint;
}

/** On PostgreSQL partitioned by `expires_day`. */
export interface AttachmentChunkTable {
  project_id: bigint;
  event_id: Uint8Array;
  attachment_id: string;
  chunk_index: bigint;
  expires_day: bigint;
  data: Uint8Array;
}

export interface UserReportTable {
  project_id: bigint;
  event_id: Uint8Array;
  /** Of the body: a report that was logged twice is one. */
  digest: Uint8Array;
  organization_id: bigint;
  key_id: bigint;
  received_ms: bigint;
  expires_day: bigint;
  body: Uint8Array;
}

/** 0: the organization, project or key was not known. An empty reason: none. */
export interface OutcomeTotalTable {
  organization_id: bigint;
  project_id: bigint;
  key_id: bigint;
  outcome: string;
  reason: string;
  category: string;
  quantity: bigint;
  times: bigint;
}

export interface OutcomeHourTable extends OutcomeTotalTable {
  hour_ms: bigint;
}

/** How far a group's effects are in here. */
export interface LogPositionTable {
  consumer_group: string;
  topic_id: string;
  topic_partition: bigint;
  next_offset: bigint;
  /** Of the leader that took the last record, where `epoch_offset` is `next_offset`: versions before moved that alone. */
  epoch: bigint | null;
  epoch_offset: bigint | null;
}

/** The last of a writer's outcomes that a group has counted, of each partition. */
export interface OutcomeWriterTable {
  consumer_group: string;
  topic_id: string;
  topic_partition: bigint;
  writer: string;
  last_sequence: bigint;
  expires_day: bigint;
}
