import type { DescMessage, DescMethodUnary, Message } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { exitCodeOf, explain } from '../failure.ts';
import { printable } from '../output.ts';
import { type Outputs, say } from '../session.ts';
import { EXIT } from '../usage.ts';
import type { AdminOptions } from './options.ts';
import { jsonOf, render } from './render.ts';
import { RequestError, requestOf } from './request.ts';
import type { AdminTarget } from './target.ts';

/** Does what was asked for, and prints what came of it. Nothing is tried twice: a change may have happened. */
export async function runAdmin(
  target: AdminTarget,
  { command, name, flags, json }: AdminOptions,
  { stdout, stderr }: Outputs,
): Promise<number> {
  const { organization, project } = target;
  let request: Message;
  try {
    request = requestOf(command, { name, flags, organization, project, nowMs: Date.now() });
  } catch (error) {
    if (error instanceof RequestError) return say(stderr, printable(error.message), EXIT.usage);
    throw error;
  }
  try {
    const answer = jsonOf(command.method.output, await call(target, command.method, request));
    if (json) {
      await stdout.write(`${JSON.stringify(answer, null, 2)}\n`);
    } else {
      const { text, notice } = render(answer);
      await stdout.write(text);
      if (notice !== '') await stderr.write(`${notice}\n`);
    }
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    // An etag that is no longer: asked again it is refused again.
    const code = error.code === Code.Aborted ? EXIT.refused : exitCodeOf(error);
    return say(stderr, reasonOf(error, target.url), code);
  }
}

async function call(
  { url, token }: AdminTarget,
  method: DescMethodUnary<DescMessage, DescMessage>,
  request: Message,
): Promise<Message> {
  const sessionManager = new Http2SessionManager(url);
  const transport = createGrpcTransport({ baseUrl: url, sessionManager });
  try {
    const headers = { authorization: `Bearer ${token}` };
    return (await transport.unary(method, undefined, CALL_TIMEOUT_MS, headers, request)).message;
  } finally {
    sessionManager.abort();
  }
}

const CALL_TIMEOUT_MS = 15_000;

function reasonOf(error: ConnectError, url: string): string {
  switch (error.code) {
    case Code.NotFound:
      return 'There is no such thing, or none that this token may see.';
    case Code.AlreadyExists:
    case Code.Aborted:
      return `Refused: ${printable(error.rawMessage)}.`;
    default:
      return explain(error, url);
  }
}
