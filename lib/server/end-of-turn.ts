let turn: Promise<void> | undefined;

/**
 * Resolves when the event loop has been through what is ready in this turn; everybody who waits in one turn goes on
 * together.
 *
 * Answers that are sent together wake their reader once. Sent between the work of a turn, each finds it asleep again, and
 * waking another processor is what a small write costs most: in paired runs 84 to 94 us of CPU a publish against 54 to 70.
 */
export function endOfTurn(): Promise<void> {
  turn ??= new Promise((resolve) => {
    setImmediate(() => {
      turn = undefined;
      resolve();
    });
  });
  return turn;
}
