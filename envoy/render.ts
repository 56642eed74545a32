import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ConfigError, Env } from '#lib/server/env.ts';
import { envoyConfig } from './config.ts';
import { composeEdge, localEdge } from './variants.ts';

const usage = 'Usage: node envoy/render.ts local --admin <socket path> | compose  [--out <file>] [--script <file>]';

/** Writes Envoy's configuration as a file, or to standard output; `--script`: and the program that runs it in a container. */
function main(): void {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { admin: { type: 'string' }, out: { type: 'string' }, script: { type: 'string' } },
  });
  const config = `${JSON.stringify(envoyConfig(options(positionals[0], values.admin)), null, 1)}\n`;
  if (values.out === undefined) process.stdout.write(config);
  else writeFileSync(values.out, config);
  if (values.script !== undefined) writeFileSync(values.script, readFileSync(new URL('edge.sh', import.meta.url)));
}

function options(variant: string | undefined, admin: string | undefined) {
  const env = new Env(process.env);
  if (variant === 'local' && admin !== undefined) return localEdge(env, admin);
  if (variant === 'compose') return composeEdge(env);
  throw new ConfigError(usage);
}

try {
  main();
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`edge: ${error.message}\n`);
  process.exitCode = 1;
}
