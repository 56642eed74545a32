// @ts-check
// `npm run contracts:check`: the contracts are well written, break nobody, and gen/ is what they say.
import { breaking, format, generated, lint, releases } from './lib/contracts.mjs';
import { Failure, run } from './lib/failure.mjs';

async function main() {
  const latest = releases().at(-1);
  const checks = [
    { name: 'buf lint', finding: await lint() },
    { name: 'buf format', finding: await format() },
    {
      name: `buf breaking, against ${latest ? `release ${latest.number}` : 'no release'}`,
      finding: latest
        ? await breaking(latest.path)
        : { ok: false, output: 'contracts/ has no image of a release. Run: npm run contracts:release' },
    },
    { name: 'gen/ is what buf generates', finding: await generated() },
  ];
  for (const { name, finding } of checks) {
    process.stdout.write(`${finding.ok ? '✓' : '✗'} ${name}\n`);
    if (!finding.ok) process.stdout.write(`${finding.output.trimEnd()}\n`);
  }
  const failed = checks.filter(({ finding }) => !finding.ok).length;
  if (failed > 0) throw new Failure(`${failed} of ${checks.length} checks failed`);
}

await run('contracts', main);
