// @ts-check
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, withPrograms } from './project.mjs';
import { runCommand } from './run-command.mjs';

/**
 * @typedef {{ passed: number, failed: number }} Count
 * @typedef {{ name: string, run: (isAlone: boolean) => Promise<Count> }} Step A step that is not alone prints at its end.
 */

const env = withPrograms(process.env);

/**
 * A program whose exit code says whether all is well: one check.
 * @param {string} name
 * @param {string} command
 * @param {...string} args
 * @returns {Step}
 */
export function check(name, command, ...args) {
  return {
    name,
    async run(isAlone) {
      const { code, output } = await runCommand(command, args, { cwd: root, env, show: isAlone });
      print(name, output);
      return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
    },
  };
}

/**
 * The tests of one of vitest's projects, each counted.
 * @param {string} name
 * @param {string} project
 * @returns {Step}
 */
export function tests(name, project) {
  return {
    name,
    async run(isAlone) {
      const folder = mkdtempSync(join(tmpdir(), 'tideway-tests-'));
      try {
        const report = join(folder, 'report.json');
        const args = [
          'run',
          '--project',
          project,
          '--reporter=default',
          '--reporter=json',
          `--outputFile.json=${report}`,
        ];
        const { code, output } = await runCommand('vitest', args, { cwd: root, env, show: isAlone });
        print(name, output);
        return countOf(readFileSync(report, 'utf8'), code);
      } catch {
        // vitest itself broke, and wrote no report.
        return { passed: 0, failed: 1 };
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
}

/**
 * @param {string} name
 * @param {string} output
 */
function print(name, output) {
  if (output !== '') process.stdout.write(`\n■ ${name}\n${output}`);
}

/**
 * A test that was not run is not a test that passed. A run that failed without a failed test (a file that can't be
 * loaded, an error outside of tests, no test at all) has failed all the same.
 * @param {string} report What vitest's JSON reporter wrote.
 * @param {number} exitCode
 * @returns {Count}
 */
export function countOf(report, exitCode) {
  const { numPassedTests: passed, numTotalTests: total } = JSON.parse(report);
  const failed = total - passed;
  return { passed, failed: failed === 0 && exitCode !== 0 ? 1 : failed };
}
