import { spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { root } from '../../scripts/lib/project.mjs';
import { programEnv } from './program-env.ts';
import { until } from './until.ts';

export interface AuditRun {
  readonly exitCode: number;
  /** What it printed: JSON that bigint numbers are strings in. */
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it, the test says.
  readonly json: any;
}

const NOT_YET = 2;
const HANDLED_TIMEOUT_MS = 60_000;
/** An audit reads everything: one after the other without a pause would take the time from those who handle it. */
const PAUSE_MS = 500;

/** `npm run outcomes:audit`, again until the consumers have handled everything. */
export async function auditOnceHandled(env: Readonly<Record<string, string>>): Promise<AuditRun> {
  let last: AuditRun | undefined;
  await until(
    'everything is handled',
    async () => {
      last = await runAudit(env);
      if (last.exitCode !== NOT_YET) return true;
      await delay(PAUSE_MS);
      return false;
    },
    HANDLED_TIMEOUT_MS,
  );
  if (last === undefined) throw new Error('there was no audit');
  return last;
}

async function runAudit(env: Readonly<Record<string, string>>): Promise<AuditRun> {
  const child = spawn(process.execPath, ['cli/outcomes.ts', 'audit', '--json'], {
    cwd: root,
    env: { ...programEnv(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? -1));
  });
  if (stdout.trim() === '') throw new Error(`the audit ended with ${exitCode}: ${stderr}`);
  return { exitCode, json: JSON.parse(stdout) };
}
