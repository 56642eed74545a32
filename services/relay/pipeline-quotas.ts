import type { ProjectConfig } from '#gen/tideway/config/v1/config_service_pb.ts';
import type { DataCategory } from '#lib/ingest/data-category.ts';
import type { Outcome } from '#lib/ingest/outcome.ts';
import type { Limits, TakeRequest, TakeResult } from '#lib/limits/limits.ts';
import { quotasOf } from '#lib/limits/quotas.ts';
import type { CachedLimits } from './cached-limits.ts';
import {
  attachmentOutcomes,
  INVALID_REASONS,
  type InvalidBecause,
  limitedAs,
  outcomeOf,
  type Verdict,
} from './pipeline-outcomes.ts';
import type { Processed, ProcessedAttachment, ProcessedEvent } from './processing.ts';

/** What an envelope has become, with what is left of it after quotas. */
export interface Counted {
  readonly config: ProjectConfig;
  readonly receivedMs: number;
  events: readonly ProcessedEvent[];
  attachments: readonly ProcessedAttachment[];
  userReports: Processed['userReports'];
  readonly outcomes: Outcome[];
}

type Refused = Extract<TakeResult, { isTaken: false }>;

interface Question {
  readonly request: TakeRequest;
  readonly refuse: (refused: Refused) => void;
}

/**
 * Counts what was processed, exactly: first events, and with one that is refused goes all that came with it; then the bytes
 * of attachments, their number, and user reports. What is met is remembered, so that what comes next is refused at once.
 */
export async function countQuotas(limits: Limits, cached: CachedLimits, batch: readonly Counted[]): Promise<void> {
  const ask = async (questions: readonly Question[]): Promise<void> => {
    if (questions.length === 0) return;
    const results = await limits.take(questions.map(({ request }) => request));
    const nowMs = Date.now();
    for (const [n, result] of results.entries()) {
      const question = questions[n];
      if (result.isTaken || question === undefined) continue;
      if (!isOff(question.request)) cached.add(result.limits, nowMs);
      question.refuse(result);
    }
  };
  await ask(batch.flatMap(eventQuestions));
  const more = batch.filter(({ attachments, userReports }) => attachments.length > 0 || userReports.length > 0);
  await ask(more.flatMap((counted) => [...byteQuestions(counted), ...reportQuestions(counted)]));
  // Not with the bytes: what is refused for those must not count here.
  await ask(more.flatMap(attachmentQuestions));
}

/** What was counted, and can't be logged. */
export function invalidCounted({ config, receivedMs, ...counted }: Counted, because: InvalidBecause): Outcome[] {
  const reason = INVALID_REASONS[because];
  const verdict: Verdict = { outcome: 'invalid', reason, owner: config, timestampMs: receivedMs };
  const { events, attachments, userReports, outcomes } = counted;
  return [
    ...outcomes,
    ...events.map(({ category, eventId }) => outcomeOf(verdict, category, 1, eventId)),
    ...attachments.flatMap(({ payload, eventId }) => attachmentOutcomes(verdict, payload.byteLength, eventId)),
    ...userReports.map(({ eventId }) => outcomeOf(verdict, 'feedback', 1, eventId)),
  ];
}

function eventQuestions(counted: Counted): Question[] {
  const [first] = counted.events;
  return counted.events.map((event) => ({
    request: request(counted.config, limitedAs(event.category), 1),
    refuse: (refused) => {
      const verdict = verdictOf(counted, refused);
      counted.events = counted.events.filter((other) => other !== event);
      counted.outcomes.push(outcomeOf(verdict, event.category, 1, event.eventId));
      if (event !== first) return;
      dropAttachments(counted, verdict);
      for (const { eventId } of counted.userReports) counted.outcomes.push(outcomeOf(verdict, 'feedback', 1, eventId));
      counted.userReports = [];
    },
  }));
}

function byteQuestions(counted: Counted): Question[] {
  const { attachments, config } = counted;
  if (attachments.length === 0) return [];
  const bytes = attachments.reduce((sum, { payload }) => sum + payload.byteLength, 0);
  return [
    {
      // Empty ones are still attachments: a quantity of 0 asks whether any are taken.
      request: request(config, 'attachment', bytes),
      refuse: (refused) => dropAttachments(counted, verdictOf(counted, refused)),
    },
  ];
}

function attachmentQuestions(counted: Counted): Question[] {
  const { attachments, config } = counted;
  if (attachments.length === 0) return [];
  return [
    {
      request: request(config, 'attachment_item', attachments.length),
      refuse: (refused) => dropAttachments(counted, verdictOf(counted, refused)),
    },
  ];
}

function reportQuestions(counted: Counted): Question[] {
  return counted.userReports.map((report) => ({
    request: request(counted.config, 'feedback', 1),
    refuse: (refused) => {
      counted.userReports = counted.userReports.filter((other) => other !== report);
      counted.outcomes.push(outcomeOf(verdictOf(counted, refused), 'feedback', 1, report.eventId));
    },
  }));
}

function dropAttachments(counted: Counted, verdict: Verdict): void {
  for (const { payload, eventId } of counted.attachments) {
    counted.outcomes.push(...attachmentOutcomes(verdict, payload.byteLength, eventId));
  }
  counted.attachments = [];
}

function verdictOf({ config, receivedMs }: Counted, { limits }: Refused): Verdict {
  return { outcome: 'rate_limited', reason: limits[0]?.reasonCode, owner: config, timestampMs: receivedMs };
}

/** By limit 0, which holds for as long as the config has it, and is not remembered for longer. */
function isOff({ quotas, category, ...owner }: TakeRequest): boolean {
  return quotasOf(owner, quotas).about(category).refusing.length > 0;
}

function request(config: ProjectConfig, category: DataCategory, quantity: number): TakeRequest {
  const { organizationId, projectId, keyId, quotas } = config;
  return { organizationId, projectId, keyId, quotas, category, quantity, overAcceptOnce: false };
}
