import process from 'node:process';
import type { BatchMessage } from './batch-message.ts';
import work from './worker.ts';

/** A thread that does to itself what an event asks it to: what a fault of ours, or of V8, would do. */
export default function workOrDie(batch: BatchMessage): unknown {
  const text = Buffer.from(batch.bytes).toString();
  if (text.includes('please throw')) throw new Error('thrown');
  if (text.includes('please exit')) process.exit(3);
  if (text.includes('please hang')) for (;;);
  if (text.includes('please eat'))
    for (const eaten: number[][] = []; ; ) eaten.push(new Array(1_000_000).fill(eaten.length + 0.5));
  return work(batch);
}
