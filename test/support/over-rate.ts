import { until } from './until.ts';

/**
 * What is refused of 21 publishes to a new channel, where a channel takes 20 a second: one, if they meet in one second. On a
 * busy machine they may not at first.
 */
export async function overRate<T>(
  publish: (channelId: string) => Promise<T>,
  isRefused: (answer: T) => boolean,
): Promise<readonly T[]> {
  let refused: readonly T[] = [];
  await until('21 publishes meet in one second', async () => {
    const channelId = crypto.randomUUID();
    const answers = await Promise.all(Array.from({ length: 21 }, () => publish(channelId)));
    refused = answers.filter(isRefused);
    return refused.length > 0;
  });
  return refused;
}
