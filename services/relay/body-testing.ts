import { start } from '#lib/server/listen-testing.ts';
import { ask } from '../../test/support/raw-request.ts';
import { readBody } from './body.ts';
import { readEncoding } from './decompress.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import { FairShares } from './fair-shares.ts';

export const MIB = 1024 * 1024;

/** Answers each request with what became of its body. */
export async function serve({ maxBytes = 4 * MIB, budgetBytes = 64 * MIB } = {}) {
  const budget = new FairShares<string>(budgetBytes);
  const bodies: Buffer[] = [];
  const outcomes: string[] = [];
  const listening = await start((request, response) => {
    const done = (outcome: string) => {
      outcomes.push(outcome);
      response.end(outcome);
    };
    try {
      const encoding = readEncoding(request.headers['content-encoding']);
      readBody(request, { encoding, maxBytes, budget, caller: 'a' }).then(
        (body) => {
          bodies.push(body);
          done('read');
        },
        (error: unknown) => done(error instanceof EnvelopeRefusal ? error.reason : String(error)),
      );
    } catch (error) {
      done(error instanceof EnvelopeRefusal ? error.reason : String(error));
    }
  });
  const url = `http://127.0.0.1:${listening.port}`;
  return {
    port: listening.port,
    budget,
    bodies,
    outcomes,
    post: async (encoding: string, body: Uint8Array | readonly Uint8Array[]) =>
      (await ask(url, { method: 'POST', headers: { 'content-encoding': encoding }, body })).text,
  };
}
