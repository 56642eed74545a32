import { afterAll, beforeAll, describe } from 'vitest';
import type { EventStore } from './event-store.ts';
import { describeApplying } from './event-store-contract-applying.ts';
import { describeAttachments } from './event-store-contract-attachments.ts';
import { describeListing } from './event-store-contract-listing.ts';
import { describeOutcomes } from './event-store-contract-outcomes.ts';
import { describeRetention } from './event-store-contract-retention.ts';
import { describeStarts } from './event-store-contract-starts.ts';
import type { EventStoreContractOptions, EventStoreSpace } from './event-store-harness.ts';

/** The guarantees of event-store.ts, to be run against every database. */
export function describeEventStoreContract(name: string, options: EventStoreContractOptions): void {
  describe(`event store contract: ${name}`, () => {
    let space: EventStoreSpace;
    let store: EventStore;

    beforeAll(async () => {
      space = await options.newSpace();
      store = await space.open();
    });
    afterAll(async () => {
      await store.close();
      await space[Symbol.asyncDispose]();
    });

    describeApplying(
      () => store,
      () => space,
    );
    describeListing(
      () => store,
      () => space,
    );
    describeAttachments(() => store);
    describeOutcomes(() => store);
    describeRetention(options);
    describeStarts(options);
  });
}
