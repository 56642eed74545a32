import process from 'node:process';
import { ADMIN_HELP, parseAdminOptions } from './admin/options.ts';
import { runAdmin } from './admin/run-admin.ts';
import { findAdminTarget } from './admin/target.ts';
import { Output } from './output.ts';
import { say } from './session.ts';
import { EXIT } from './usage.ts';

// `npm run admin`: see ADMIN_HELP. Like every main, this file reads the environment and wires.
const stdout = new Output(process.stdout);
const stderr = new Output(process.stderr);
process.exit(await main());

async function main(): Promise<number> {
  const parsed = parseAdminOptions(process.argv.slice(2));
  if (parsed.kind === 'help') return say(stdout, ADMIN_HELP, EXIT.ok);
  if (parsed.kind === 'wrong') return say(stderr, `${parsed.why} --help tells more.`, EXIT.usage);
  const found = await findAdminTarget(parsed.options, process.env);
  if (found.kind === 'unusable') return say(stderr, found.why, EXIT.usage);
  return runAdmin(found.target, parsed.options, { stdout, stderr });
}
