import process from 'node:process';
import { LISTEN_HELP, parseListenOptions } from './listen-options.ts';
import { Output } from './output.ts';
import { runListen } from './run-listen.ts';
import { say, withSession } from './session.ts';
import { findTarget } from './target.ts';
import { EXIT } from './usage.ts';

// `npm run listen`: see LISTEN_HELP. Like every main, this file reads the environment and wires.
const stdout = new Output(process.stdout);
const stderr = new Output(process.stderr);
process.exit(await main());

async function main(): Promise<number> {
  const parsed = parseListenOptions(process.argv.slice(2));
  if (parsed.kind === 'help') return say(stdout, LISTEN_HELP, EXIT.ok);
  if (parsed.kind === 'wrong') return say(stderr, `${parsed.why} --help tells more.`, EXIT.usage);
  const { options } = parsed;
  const found = await findTarget(options.target, 'stream', process.env);
  if (found.kind === 'unusable') return say(stderr, found.why, EXIT.usage);
  const { target } = found;
  if (target.streamToken && !options.channelId) {
    return say(stderr, 'A stream token is for one channel: add its --channel.', EXIT.usage);
  }

  const interrupted = new AbortController();
  process.on('SIGINT', () => interrupted.abort());
  process.on('SIGTERM', () => interrupted.abort());
  return withSession(target, options.retryMs, { stdout, stderr }, (session) =>
    runListen(session, options, { interrupted: interrupted.signal, terminal: process.stdout.isTTY }),
  );
}
