import { fromBinary } from '@bufbuild/protobuf';
import { type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import type { PublishClaims } from '#lib/auth/publish-token.ts';
import type { Broker, PublishRate } from '#lib/broker/broker.ts';
import { type MessageHead, scanMessage } from '#lib/broker/scan-message.ts';
import { endOfTurn } from '#lib/server/end-of-turn.ts';
import { type Gate, parseOrgId } from '#lib/server/gate.ts';
import type { HttpCall, HttpRoute } from '#lib/server/http-route.ts';
import { headerOf, type NodeServerResponse, readBody } from '#lib/server/node-http.ts';
import { invalidField, Refusal } from '#lib/server/refusal.ts';
import { checkMessage, MAX_MESSAGE_BYTES, publishMessage, tooLarge } from './publish-message.ts';

/**
 * Conduit's form: `POST /publish/{org_id}/{channel_id}` with an encoded PublishRequest, answered with the entry's id as
 * text. The bytes that were given are the bytes that are stored.
 */
export function httpPublishRoute(gate: Gate, broker: Broker, rate: PublishRate): HttpRoute {
  return {
    methods: ['POST'],
    path: /^\/publish\/(?<org>[^/]+)\/(?<channel>[^/]+)\/?$/,
    cors: 'by_handler',
    async handle({ request, response, params }: HttpCall) {
      const admitted = gate.authenticatePublisher(headerOf(request, 'authorization'));
      const claims = admitted instanceof Promise ? await admitted : admitted;
      const data = await readBody(request, MAX_MESSAGE_BYTES, tooLarge);
      const head = headOf(data, params, gate, claims);
      const { id, duplicate } = await publishMessage(broker, head, data, rate);
      await endOfTurn();
      sendId(response, id, duplicate);
    },
  };
}

/** All at once, and one byte a character: headers that are set one by one, and text that is to be looked through, cost more. */
function sendId(response: NodeServerResponse, id: string, duplicate: boolean): void {
  if (response.headersSent || response.writableEnded) return;
  response.writeHead(200, {
    'Access-Control-Allow-Origin': '*',
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': id.length,
    ...(duplicate && { 'Tideway-Duplicate': 'true' }),
  });
  response.end(id, 'latin1');
}

/** What can't be scanned is decoded, to be understood or to be told what is wrong with it. @throws Refusal */
function headOf(data: Buffer, params: HttpCall['params'], gate: Gate, claims: PublishClaims): MessageHead {
  const scanned = scanMessage(data);
  const decoded = scanned === undefined ? decode(data) : undefined;
  const named = scanned ?? (decoded as PublishRequest);
  const orgId = parseOrgId(params['org'] ?? '', 'org_id');
  if (named.orgId !== 0n && named.orgId !== orgId) throw invalidField('org_id', "must be the URL's");
  if (decoded !== undefined) {
    decoded.orgId = orgId;
    gate.validate(PublishRequestSchema, decoded);
  }
  if (named.channelId.toLowerCase() !== params['channel']?.toLowerCase()) {
    throw invalidField('channel_id', "must be the URL's");
  }
  gate.requireClaims(claims, orgId, named.channelId);
  return decoded === undefined ? { ...named, orgId } : checkMessage(decoded);
}

function decode(data: Uint8Array): PublishRequest {
  try {
    return fromBinary(PublishRequestSchema, data);
  } catch (error) {
    throw new Refusal('invalid_protobuf', { cause: error });
  }
}
