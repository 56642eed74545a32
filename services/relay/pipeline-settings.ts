export interface PipelineSettings {
  /** What may wait between the answer and the log. */
  readonly maxQueueBytes: number;
  /** How long a project is waited for. */
  readonly projectTimeoutMs: number;
  readonly maxBatchEnvelopes: number;
  readonly maxBatchBytes: number;
  readonly maxBatchWaitMs: number;
  /** At work at once. Twice the number of threads keeps these busy. */
  readonly maxBatches: number;
}

export const DEFAULT_PIPELINE_SETTINGS: PipelineSettings = {
  maxQueueBytes: 64 * 1024 * 1024,
  projectTimeoutMs: 30_000,
  maxBatchEnvelopes: 64,
  maxBatchBytes: 8 * 1024 * 1024,
  maxBatchWaitMs: 10,
  maxBatches: 4,
};
