// @ts-check

/**
 * Something that a user can mend. The message is one line and says how; nobody needs its stack. Without a message
 * somebody else has said it.
 */
export class Failure extends Error {}

/**
 * Runs a script's main function: exit code 1 and one line for a Failure, everything for a bug.
 * @param {string} name What the line begins with.
 * @param {() => Promise<void>} main
 */
export async function run(name, main) {
  try {
    await main();
  } catch (error) {
    const text = error instanceof Failure ? error.message : error instanceof Error ? error.stack : String(error);
    if (text) process.stderr.write(`${name}: ${text}\n`);
    process.exitCode = 1;
  }
}
