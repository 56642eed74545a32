import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Answer, Ask } from './jobs.ts';

/** A process that makes load: it does what it is asked, and ends with this one. */
export class LoadProcess implements Disposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<never>;

  constructor(file: 'load-listeners.ts' | 'load-publishers.ts') {
    this.#child = fork(new URL(file, import.meta.url), { serialization: 'advanced' });
    this.#ended = once(this.#child, 'exit').then(([code, signal]) => {
      throw new Error(`${file} ended early (${signal ?? code})`);
    });
    // It is told to whoever asks.
    this.#ended.catch(() => {});
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  async ask<Kind extends Answer['kind']>(ask: Ask, kind: Kind): Promise<Extract<Answer, { kind: Kind }>> {
    this.#child.send(ask);
    const [answer] = (await Promise.race([once(this.#child, 'message'), this.#ended])) as [Answer];
    if (answer.kind !== kind) throw new Error(`a process answered ${answer.kind} in place of ${kind}`);
    return answer as Extract<Answer, { kind: Kind }>;
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}

/** In the process itself. */
export function answerAsks(answer: (ask: Ask) => Promise<Answer>): void {
  process.on('message', (ask: Ask) => {
    void answer(ask).then((said) => process.send?.(said));
  });
  process.on('disconnect', () => process.exit(0));
}
