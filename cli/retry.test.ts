import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { Backoff } from './backoff.ts';
import { withRetries } from './retry.ts';

function recorder() {
  const heard: string[] = [];
  return { heard, onOutage: () => heard.push('outage'), onRecovery: () => heard.push('recovery') };
}

/** A budget of `steps` attempts that wait next to nothing. */
function shortBackoff(steps: number): Backoff {
  let nowMs = 0;
  return new Backoff(steps, () => nowMs++);
}

describe('withRetries', () => {
  it('repeats what is retryable and tells of the outage once', async () => {
    const listener = recorder();
    let attempts = 0;
    const result = await withRetries(
      async () => {
        if (++attempts < 3) throw new ConnectError('away', Code.Unavailable);
        return 'done';
      },
      shortBackoff(20),
      listener,
    );
    expect(result).toBe('done');
    expect(attempts).toBe(3);
    expect(listener.heard).toEqual(['outage', 'recovery']);
  });

  it('gives up when the budget is spent, with the last error', async () => {
    let attempts = 0;
    const run = withRetries(
      async () => {
        throw new ConnectError(`away ${++attempts}`, Code.Unavailable);
      },
      shortBackoff(4),
      recorder(),
    );
    await expect(run).rejects.toThrow(/away [2-9]/);
  });

  it.each([
    ['a refusal', new ConnectError('no', Code.PermissionDenied)],
    [
      'an address where nothing listens',
      new ConnectError(
        '',
        Code.Unavailable,
        undefined,
        undefined,
        Object.assign(new Error(), { code: 'ECONNREFUSED' }),
      ),
    ],
  ])('does not repeat %s', async (_what, error) => {
    let attempts = 0;
    const run = withRetries(
      async () => {
        attempts++;
        throw error;
      },
      shortBackoff(20),
      recorder(),
    );
    await expect(run).rejects.toBe(error);
    expect(attempts).toBe(1);
  });
});
