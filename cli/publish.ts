import process from 'node:process';
import { Output } from './output.ts';
import { PUBLISH_HELP, parsePublishOptions } from './publish-options.ts';
import { runPublish } from './run-publish.ts';
import { say, withSession } from './session.ts';
import { stopOnSignal } from './stop-on-signal.ts';
import { findTarget } from './target.ts';
import { EXIT } from './usage.ts';

// `npm run publish`: see PUBLISH_HELP. Like every main, this file reads the environment and wires.
const stdout = new Output(process.stdout);
const stderr = new Output(process.stderr);
process.exit(await main());

async function main(): Promise<number> {
  const parsed = parsePublishOptions(process.argv.slice(2));
  if (parsed.kind === 'help') return say(stdout, PUBLISH_HELP, EXIT.ok);
  if (parsed.kind === 'wrong') return say(stderr, `${parsed.why} --help tells more.`, EXIT.usage);
  const { options } = parsed;
  if (options.what.kind === 'one' && options.what.needsInput && process.stdin.isTTY) {
    return say(stderr, 'Nothing to publish: give a text, or pipe one in. --help tells more.', EXIT.usage);
  }
  const found = await findTarget(options.target, 'publish', process.env);
  if (found.kind === 'unusable') return say(stderr, found.why, EXIT.usage);
  const { target } = found;
  if (!target.publishToken) return say(stderr, 'No publish token: set TIDEWAY_PUBLISH_TOKEN.', EXIT.usage);

  const stop =
    options.what.kind === 'lines'
      ? stopOnSignal(process, () => process.exit(EXIT.interrupted))
      : new AbortController().signal;
  return withSession(target, options.retryMs, { stdout, stderr }, (session) =>
    runPublish(session, options, process.stdin, stop),
  );
}
