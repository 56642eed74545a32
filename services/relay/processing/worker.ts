import { move, transferableSymbol, valueSymbol } from 'piscina';
import { type BatchMessage, decodeBatch } from './batch-message.ts';
import { judge } from './judge.ts';
import { encodeVerdicts } from './verdicts-message.ts';

/** What a thread of the pool does with a batch. The buffer of the answer changes hands. */
export default function work(batch: BatchMessage): unknown {
  const message = encodeVerdicts(decodeBatch(batch).map(judge));
  return move({ [transferableSymbol]: [message.bytes.buffer], [valueSymbol]: message });
}
