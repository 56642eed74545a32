import { MAX_STEP_BYTES, MAX_STEP_MESSAGES, type NewMessage, type PublishRate, type PublishResult } from './broker.ts';

type Step = (messages: readonly NewMessage[], rate: PublishRate) => PublishResult[] | Promise<PublishResult[]>;

/**
 * What `publishMany` is in every broker: one step after the other. Each waits for the answer of the one before. Sent
 * together, a later one could be stored although an earlier one failed, and the order would be gone.
 */
export async function publishInSteps(
  messages: readonly NewMessage[],
  rate: PublishRate,
  publishStep: Step,
): Promise<PublishResult[]> {
  const results: PublishResult[] = [];
  let rateLeft = rate;
  for (const step of stepsOf(messages)) {
    const last = results.at(-1);
    if (last?.kind === 'rate_limited') {
      for (const _ of step) results.push(last);
      continue;
    }
    const answered = await publishStep(step, rateLeft);
    // A call counts once.
    if (rate.counts !== 'messages' && answered.some(({ kind }) => kind === 'stored')) rateLeft = { ...rate, perSec: 0 };
    results.push(...answered);
  }
  return results;
}

/** Messages in their order, in parts that may be stored in one step. */
function stepsOf(messages: readonly NewMessage[]): (readonly NewMessage[])[] {
  const steps: (readonly NewMessage[])[] = [];
  let from = 0;
  let bytes = 0;
  for (const [at, { data }] of messages.entries()) {
    if (at > from && (at - from === MAX_STEP_MESSAGES || bytes + data.length > MAX_STEP_BYTES)) {
      steps.push(messages.slice(from, at));
      from = at;
      bytes = 0;
    }
    bytes += data.length;
  }
  if (messages.length > 0) steps.push(from === 0 ? messages : messages.slice(from));
  return steps;
}
