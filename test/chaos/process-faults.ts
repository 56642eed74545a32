import { setTimeout as delay } from 'node:timers/promises';
import type { StepClock } from '../support/chaos-clock.ts';
import type { Deployment } from '../support/deployment.ts';
import type { Fault, FaultGroup } from './plan.ts';

/** What happens to the services themselves: killed, drained, and their clocks set. */
export function processFaults(deployment: Deployment, clock: StepClock | undefined) {
  async function end(name: 'publish' | 'stream', signal: 'SIGKILL' | 'SIGTERM', { choice, forMs }: Fault) {
    const replica = choice % deployment[name].length;
    const ending = deployment[name][replica];
    ending?.kill(signal);
    await ending?.exited;
    await delay(forMs);
    await deployment.restart(name, replica);
  }
  const effects: Record<string, (fault: Fault) => Promise<void>> = {
    'publish killed': (fault) => end('publish', 'SIGKILL', fault),
    'publish drained': (fault) => end('publish', 'SIGTERM', fault),
    'stream killed': (fault) => end('stream', 'SIGKILL', fault),
    'stream drained': (fault) => end('stream', 'SIGTERM', fault),
    'clock set': async ({ choice, forMs }) => {
      clock?.set((choice % 121) - 60);
      await delay(forMs);
      clock?.set(0);
    },
  };
  const usual = { everyMs: [3_000, 8_000], forMs: [0, 2_000] } as const;
  const groups: FaultGroup[] = [
    { name: 'publish', kinds: ['publish killed', 'publish drained'], ...usual },
    { name: 'stream', kinds: ['stream killed', 'stream drained'], ...usual },
    ...(clock === undefined
      ? []
      : [{ name: 'clock', kinds: ['clock set'], everyMs: [4_000, 12_000], forMs: [1_000, 5_000] } as const]),
  ];
  return { groups, breakBy: async (fault: Fault) => effects[fault.kind]?.(fault) };
}
