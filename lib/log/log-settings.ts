import { ConfigError, type Env } from '#lib/server/env.ts';
import {
  DEFAULT_KAFKA_PARTITIONS,
  DEFAULT_KAFKA_REPLICAS,
  KAFKA_MECHANISMS,
  type KafkaSasl,
  type KafkaSettings,
  type KafkaTls,
} from './kafka-settings.ts';
import { DEFAULT_RETENTION_MS } from './log.ts';
import type { OpenLogOptions } from './open-log.ts';

const DAY_SEC = 86_400;
const MIB = 1024 * 1024;
const MAX_FILE_MB = 1 << 30;

/** Where the log is: on Kafka where KAFKA_BROKERS names some, else in the data folder. @throws ConfigError */
export function logSettings(env: Env, dataDir: string): OpenLogOptions {
  const retentionMs = env.secondsAsMs('LOG_RETENTION_SEC', DEFAULT_RETENTION_MS / 1000, 3600, 3650 * DAY_SEC);
  const kafka = kafkaSettings(env);
  if (kafka === undefined) {
    const maxFileMb = env.integer('LOG_MAX_FILE_MB', 0, 0, MAX_FILE_MB);
    return { dataDir, retentionMs, maxFileBytes: maxFileMb === 0 ? undefined : maxFileMb * MIB };
  }
  return {
    kafka,
    retentionMs,
    partitions: env.integer('KAFKA_PARTITIONS', DEFAULT_KAFKA_PARTITIONS, 1, 10_000),
    replicas: env.integer('KAFKA_REPLICAS', DEFAULT_KAFKA_REPLICAS, 1, 100),
  };
}

function kafkaSettings(env: Env): KafkaSettings | undefined {
  const text = env.text('KAFKA_BROKERS');
  const brokers = text
    ?.split(',')
    .map((broker) => broker.trim())
    .filter((broker) => broker !== '');
  if (brokers === undefined || brokers.length === 0) return undefined;
  if (!brokers.every((broker) => /^(?:[\w.-]+|\[[\da-f:]+\]):\d{1,5}$/i.test(broker))) {
    throw new ConfigError('KAFKA_BROKERS must be a list of host:port, with commas between');
  }
  return { brokers, tls: tlsSettings(env), sasl: saslSettings(env) };
}

/** By KAFKA_TLS=true with the system's authorities, or by any of the others. */
function tlsSettings(env: Env): KafkaTls | undefined {
  const settings: KafkaTls = {
    caFile: env.readableFile('KAFKA_TLS_CA_FILE'),
    certFile: env.readableFile('KAFKA_TLS_CERT_FILE'),
    keyFile: env.readableFile('KAFKA_TLS_KEY_FILE'),
    serverName: env.text('KAFKA_TLS_SERVER_NAME'),
  };
  const isSet = Object.values(settings).some((value) => value !== undefined);
  return isSet || env.text('KAFKA_TLS') === 'true' ? settings : undefined;
}

function saslSettings(env: Env): KafkaSasl | undefined {
  const username = env.text('KAFKA_SASL_USERNAME');
  if (username === undefined) return undefined;
  const name = env.text('KAFKA_SASL_MECHANISM') ?? 'SCRAM-SHA-512';
  const mechanism = KAFKA_MECHANISMS.find((each) => each === name);
  if (mechanism === undefined) {
    throw new ConfigError(`KAFKA_SASL_MECHANISM must be one of ${KAFKA_MECHANISMS.join(', ')}`);
  }
  return { mechanism, username, password: env.required('KAFKA_SASL_PASSWORD') };
}
