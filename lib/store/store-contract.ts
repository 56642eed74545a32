import { afterAll, beforeAll, describe } from 'vitest';
import type { Store } from './store.ts';
import { describeChangeLog } from './store-contract-changes.ts';
import { describeDisabled } from './store-contract-disabled.ts';
import { describeKeys } from './store-contract-keys.ts';
import { describeMandates } from './store-contract-mandates.ts';
import { describePeople } from './store-contract-people.ts';
import { describeResources } from './store-contract-resources.ts';
import { describeStarts } from './store-contract-starts.ts';
import type { StoreContractOptions, StoreSpace } from './store-harness.ts';

/** The guarantees of store.ts, to be run against every database. */
export function describeStoreContract(name: string, options: StoreContractOptions): void {
  describe(`store contract: ${name}`, () => {
    let space: StoreSpace;
    let store: Store;

    beforeAll(async () => {
      space = await options.newSpace();
      store = await space.open();
    });
    afterAll(async () => {
      await store.close();
      await space[Symbol.asyncDispose]();
    });

    describeResources(() => store);
    describeKeys(() => store);
    describePeople(
      () => store,
      () => space,
    );
    describeDisabled(() => store);
    describeMandates(
      () => store,
      () => space,
    );
    describeChangeLog(
      () => store,
      () => space,
    );
    describeStarts(options);
  });
}
