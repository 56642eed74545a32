// @ts-check
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from './failure.mjs';
import { installWhole } from './install-whole.mjs';
import { root } from './project.mjs';
import { runCommand } from './run-command.mjs';

/** The same as pom.xml's: a test compares them. */
export const kafkaVersion = '4.3.1';

const OLDEST_JAVA = 17;
const recipe = join(root, 'scripts', 'lib', 'kafka');
const copyDependencies = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies';

/** The folder with Kafka's jars, whether it is there or not. */
export const kafkaFolder = join(root, '.tools', `kafka-${kafkaVersion}`);

export function kafkaInstalled() {
  return existsSync(kafkaFolder);
}

/** Installs Kafka for the tests, unless it is. @returns {Promise<string>} The folder with its jars. */
export async function ensureKafka() {
  await requireJava();
  if (!kafkaInstalled()) await install(kafkaFolder);
  return kafkaFolder;
}

/** Whether there is a Java that runs Kafka. */
export async function javaProblem() {
  const { code, output } = await runCommand('java', ['-version']);
  if (code !== 0) return 'Java is missing';
  const version = Number(/version "(\d+)/.exec(output)?.[1]);
  return version >= OLDEST_JAVA ? undefined : `Java is of version ${version}`;
}

async function requireJava() {
  const problem = await javaProblem();
  if (problem !== undefined) throw new Failure(`${problem}, and Kafka needs Java ${OLDEST_JAVA} or later: install it`);
}

/**
 * Kafka comes as jars, by Maven, from wherever this machine's Maven has them, checked against the hashes in jars.sha256.
 * @param {string} folder
 */
async function install(folder) {
  if ((await runCommand('mvn', ['--version'])).code !== 0) {
    throw new Failure('mvn is missing, and Kafka comes by Maven: install it (Debian and Ubuntu: apt install maven)');
  }
  process.stderr.write(`Installing Kafka ${kafkaVersion}…\n`);
  await installWhole(folder, async (unpacked) => {
    const { code, output } = await runCommand('mvn', [
      '--quiet',
      '--batch-mode',
      '--no-transfer-progress',
      '--file',
      join(recipe, 'pom.xml'),
      copyDependencies,
      '-DincludeScope=runtime',
      `-DoutputDirectory=${unpacked}`,
    ]);
    if (code !== 0) throw new Failure(explain(output));
    const problem = jarProblem(unpacked);
    if (problem !== undefined) throw new Failure(`Kafka could not be installed: ${problem}`);
  });
}

/**
 * What differs from jars.sha256.
 * @param {string} folder
 */
export function jarProblem(folder, hashes = readFileSync(join(recipe, 'jars.sha256'), 'utf8')) {
  const wanted = new Map(
    hashes
      .trim()
      .split('\n')
      .map((line) => /** @type {[string, string]} */ (line.split(/\s+/).toReversed())),
  );
  const found = readdirSync(folder);
  const missing = [...wanted.keys()].find((jar) => !found.includes(jar));
  if (missing !== undefined) return `${missing} is missing`;
  for (const jar of found) {
    const hash = createHash('sha256')
      .update(readFileSync(join(folder, jar)))
      .digest('hex');
    if (wanted.get(jar) !== hash) return `${jar} is not the one that jars.sha256 names`;
  }
  return undefined;
}

/** @param {string} output */
function explain(output) {
  const line = output.split('\n').find((each) => each.includes('[ERROR]')) ?? 'Maven failed';
  return `Kafka could not be installed: ${line.replace(/^.*\[ERROR\] */, '')}`;
}
