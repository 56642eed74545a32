import { ConnectError } from '@connectrpc/connect';
import { Backoff } from './backoff.ts';
import { connectEdge, type Edge } from './edge.ts';
import { exitCodeOf, explain } from './failure.ts';
import { InputError } from './messages.ts';
import type { Output } from './output.ts';
import type { OutageListener } from './retry.ts';
import type { Target } from './target.ts';
import { EXIT } from './usage.ts';

/** What a command works with: an edge, patience with it, and where to write. */
export interface Session {
  readonly edge: Edge;
  readonly target: Target;
  readonly backoff: Backoff;
  readonly listener: OutageListener;
  /** What the command is for. */
  readonly stdout: Output;
  /** What people should know. */
  readonly stderr: Output;
}

export interface Outputs {
  readonly stdout: Output;
  readonly stderr: Output;
}

/** Runs a command and closes the connection; what failed as failures do becomes one line and an exit code. */
export async function withSession(
  target: Target,
  retryMs: number,
  { stdout, stderr }: Outputs,
  run: (session: Session) => Promise<number>,
): Promise<number> {
  const edge = connectEdge(target.url);
  const listener: OutageListener = {
    onOutage: (error) => {
      void stderr.write(`${explain(error, target.url)} Trying again for up to ${retryMs / 1000} s.\n`);
    },
    onRecovery: () => {
      void stderr.write('Connected again.\n');
    },
  };
  try {
    return await run({ edge, target, backoff: new Backoff(retryMs), listener, stdout, stderr });
  } catch (error) {
    if (error instanceof InputError) return await say(stderr, error.message, EXIT.usage);
    if (error instanceof ConnectError) return await say(stderr, explain(error, target.url), exitCodeOf(error));
    throw error;
  } finally {
    edge.close();
  }
}

/** A last line, and the exit code that goes with it. */
export async function say(output: Output, line: string, exitCode: number): Promise<number> {
  await output.write(`${line}\n`);
  return exitCode;
}
