import type { JsonApi } from '../test/support/json-api.ts';

export interface Counts {
  readonly accepted: number;
  readonly others: number;
}

/** By the API, as whoever is billed sees it. */
export async function acceptedOf(api: JsonApi, organization: string): Promise<Counts> {
  const { totals = [] } = await api.fetch('POST', '/tideway.events.v1.EventService/ListOutcomes', { organization });
  let accepted = 0;
  let others = 0;
  for (const { outcome, quantity } of totals) {
    if (outcome === 'accepted') accepted += Number(quantity);
    else others += Number(quantity);
  }
  return { accepted, others };
}
