// @ts-check
// `npm run contracts:release`: keeps the contracts as they are now, for later ones to be held against.
import { mkdirSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { breaking, build, lint, releasePath, releases } from './lib/contracts.mjs';
import { Failure, run } from './lib/failure.mjs';
import { root } from './lib/project.mjs';

async function main() {
  const latest = releases().at(-1);
  await passing('buf lint', lint());
  if (latest) await passing(`buf breaking against release ${latest.number}`, breaking(latest.path));
  const image = releasePath(root, (latest?.number ?? 0) + 1);
  mkdirSync(dirname(image), { recursive: true });
  await passing('buf build', build(image));
  process.stdout.write(`${relative(root, image)} is written: commit it\n`);
}

/**
 * @param {string} name
 * @param {Promise<import('./lib/contracts.mjs').Finding>} finding
 */
async function passing(name, finding) {
  const { ok, output } = await finding;
  if (!ok) throw new Failure(`${name} failed\n${output.trimEnd()}`);
}

await run('contracts', main);
