// How a Kafka cluster is reached. Apart from the client, which is loaded only where there is one.

export interface KafkaSettings {
  /** `host:port`, of some of the cluster. */
  readonly brokers: readonly string[];
  readonly tls?: KafkaTls | undefined;
  readonly sasl?: KafkaSasl | undefined;
}

export interface KafkaTls {
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  /** Where the certificate has another name than the address. */
  readonly serverName?: string | undefined;
}

export interface KafkaSasl {
  readonly mechanism: KafkaMechanism;
  readonly username: string;
  readonly password: string;
}

export const KAFKA_MECHANISMS = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'] as const;
export type KafkaMechanism = (typeof KAFKA_MECHANISMS)[number];

export const DEFAULT_KAFKA_PARTITIONS = 8;
export const DEFAULT_KAFKA_REPLICAS = 1;
