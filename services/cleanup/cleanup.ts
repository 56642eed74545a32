import type { Broker } from '#lib/broker/broker.ts';
import type { ServiceParts } from '#lib/server/run-service.ts';
import type { Logger } from '#lib/telemetry/logger.ts';

/** Streams looked at in one step; a backlog takes several, so that a pass can stop between. */
const STEP = 500;

export interface CleanupOptions {
  readonly broker: Broker;
  /** A stream without END and without a publish for so long has lost its producer. */
  readonly idleMs: number;
  readonly intervalMs: number;
  readonly logger: Logger;
}

/** The cleanup service: ends streams whose producer is lost. Any number may run; a stream is ended once. */
export function cleanupService({ broker, idleMs, intervalMs, logger }: CleanupOptions): ServiceParts {
  let stopped = false;
  let passing = false;

  async function pass(): Promise<void> {
    if (passing || stopped) return;
    passing = true;
    let problem: unknown;
    try {
      // Where it can't be said, streams can be ended all the same.
      await broker.governIdle(idleMs, intervalMs).catch((error: unknown) => {
        problem = error;
      });
      for (let examined = STEP; examined >= STEP && !stopped; ) {
        const step = await broker.endIdle(idleMs, STEP);
        if (step.ended.length > 0) logger.info({ ended: step.ended.length }, 'streams ended: producer lost');
        examined = step.examined;
        problem ??= step.problem;
      }
    } catch (error) {
      problem ??= error;
    } finally {
      passing = false;
    }
    if (problem !== undefined) {
      logger.warn({ err: problem }, 'cleanup could not finish its pass; the next one goes on');
    }
  }

  void pass();
  const timer = setInterval(() => void pass(), intervalMs);
  timer.unref();
  const stop = () => {
    stopped = true;
    clearInterval(timer);
  };
  return {
    services: [],
    http: [],
    rpc() {},
    drain: async () => stop(),
    close: stop,
  };
}
