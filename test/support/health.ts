import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { Health, HealthCheckResponse_ServingStatus as Status } from '#gen/grpc/health/v1/health_pb.ts';
import { until } from './until.ts';

/** For what hangs, not for what is slow. */
const ANSWER_MS = 20_000;

/** Waits until a service's own port says all of this about itself, by /readyz and by grpc.health.v1. */
export async function untilHealthIs(port: number, expected: HealthReport): Promise<void> {
  const baseUrl = `http://127.0.0.1:${port}`;
  const client = createClient(Health, createGrpcTransport({ baseUrl, defaultTimeoutMs: 2_000 }));
  const serves = async (service: string) => (await client.check({ service })).status === Status.SERVING;
  await Promise.all([
    // Each on its own: /readyz takes as long as the broker does.
    until(`/readyz says ${expected.readyz}`, async () => {
      const response = await fetch(`${baseUrl}/readyz`);
      await response.arrayBuffer();
      return response.status === expected.readyz;
    }),
    until(`the broker serves: ${expected.broker}`, async () => (await serves(BROKER)) === expected.broker),
  ]);
  const { status } = await client.check({ service: '' }, { timeoutMs: ANSWER_MS });
  if (status !== Status.SERVING) throw new Error('the service itself says that it does not serve');
}

const BROKER = 'tideway.broker';

export interface HealthReport {
  readonly readyz: number;
  readonly broker: boolean;
}

export const HEALTHY: HealthReport = { readyz: 200, broker: true };
/** The service itself serves on: nobody is to take it out for its broker. */
export const BROKER_AWAY: HealthReport = { readyz: 503, broker: false };
