import type { SubscribeResponse } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { startStream } from './edge.ts';
import { followChannel } from './follow-channel.ts';
import type { ListenOptions } from './listen-options.ts';
import { printable } from './output.ts';
import { render } from './render.ts';
import { withRetries } from './retry.ts';
import { type Session, say } from './session.ts';
import { EXIT, pasteable } from './usage.ts';

export interface ListenSurroundings {
  readonly interrupted: AbortSignal;
  /** True if standard output is a terminal. */
  readonly terminal: boolean;
}

/** Prints a channel until its stream is over, nobody reads any more, or it is told to stop. */
export async function runListen(
  session: Session,
  options: ListenOptions,
  { interrupted, terminal }: ListenSurroundings,
): Promise<number> {
  const { edge, target, backoff, listener, stdout, stderr } = session;
  const timeout = options.timeoutMs === undefined ? undefined : AbortSignal.timeout(options.timeoutMs);
  const signal = timeout ? AbortSignal.any([interrupted, timeout]) : interrupted;
  let cursor = options.from;
  let lineOpen = false;

  const stopped = async (): Promise<number> => {
    if (terminal && lineOpen) await stdout.write('\n');
    const resume = cursor === '' ? '' : ` --from ${cursor} goes on from here.`;
    if (interrupted.aborted) return say(stderr, `Interrupted.${resume}`, EXIT.interrupted);
    return say(stderr, `No END within ${(options.timeoutMs ?? 0) / 1000} s.${resume}`, EXIT.timedOut);
  };

  try {
    const start = () => startStream(edge, target, options.channelId, signal);
    let access = target.streamToken
      ? { token: target.streamToken, channelId: options.channelId ?? '' }
      : await withRetries(start, backoff, listener, signal);
    if (options.channelId === undefined) {
      const publish = pasteable('publish', {
        channel: access.channelId,
        url: options.target.url,
        org: options.target.org,
      });
      await stderr.write(`New channel ${access.channelId}. To publish:\n  ${publish} "Hello"\n`);
    }

    const request = { orgId: target.orgId, channelId: access.channelId, lastEventId: options.from };
    const events = followChannel(edge.streams, request, {
      token: async (renew) => {
        if (renew) access = await startStream(edge, target, access.channelId, signal);
        return access.token;
      },
      renewable: !target.streamToken,
      backoff,
      listener,
      signal,
    });
    for await (const step of events) {
      if (step.kind === 'over') {
        if (terminal && lineOpen) await stdout.write('\n');
        return await sayOver(step.how);
      }
      cursor = step.event.id || cursor;
      if (!(await print(step.event))) return EXIT.ok;
    }
    return EXIT.ok;
  } catch (error) {
    if (signal.aborted) return await stopped();
    throw error;
  }

  /** False if nobody reads any more. */
  async function print(event: SubscribeResponse): Promise<boolean> {
    const { text, notice } = render(event, options.json);
    if (notice !== '') await stderr.write(`${printable(notice)}\n`);
    if (text === '') return !stdout.closed;
    lineOpen = !text.endsWith('\n');
    return stdout.write(terminal ? printable(text) : text);
  }

  async function sayOver(how: 'end' | 'ended_before' | 'producer_lost' | 'expired'): Promise<number> {
    switch (how) {
      case 'end':
        return EXIT.ok;
      case 'ended_before':
        return say(stderr, 'The stream has ended, and nothing comes after this id.', EXIT.ok);
      case 'producer_lost':
      case 'expired':
        return EXIT.endedWithoutEnd;
    }
  }
}
