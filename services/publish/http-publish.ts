import { fromBinary } from '@bufbuild/protobuf';
import { type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import type { Broker, PublishRate } from '#lib/broker/broker.ts';
import { endOfTurn } from '#lib/server/end-of-turn.ts';
import { type Gate, parseOrgId } from '#lib/server/gate.ts';
import { type HttpCall, type HttpRoute, sendText } from '#lib/server/http-route.ts';
import { headerOf, readBody } from '#lib/server/node-http.ts';
import { invalidField, Refusal } from '#lib/server/refusal.ts';
import { MAX_MESSAGE_BYTES, publishMessage, tooLarge } from './publish-message.ts';

/**
 * Conduit's form: `POST /publish/{org_id}/{channel_id}` with an encoded PublishRequest, answered with the entry's id as
 * text. The bytes that were given are the bytes that are stored.
 */
export function httpPublishRoute(gate: Gate, broker: Broker, rate: PublishRate): HttpRoute {
  return {
    methods: ['POST'],
    path: /^\/publish\/(?<org>[^/]+)\/(?<channel>[^/]+)\/?$/,
    cors: true,
    async handle({ request, response, params }: HttpCall) {
      const claims = await gate.authenticatePublisher(headerOf(request, 'authorization'));
      const data = await readBody(request, MAX_MESSAGE_BYTES, tooLarge);
      const message = decode(data);
      const orgId = parseOrgId(params['org'] ?? '', 'org_id');
      if (message.orgId !== 0n && message.orgId !== orgId) throw invalidField('org_id', "must be the URL's");
      message.orgId = orgId;
      gate.validate(PublishRequestSchema, message);
      if (message.channelId.toLowerCase() !== params['channel']?.toLowerCase()) {
        throw invalidField('channel_id', "must be the URL's");
      }
      gate.requireClaims(claims, orgId, message.channelId);
      const { id, duplicate } = await publishMessage(broker, message, data, rate);
      if (duplicate) response.setHeader('Tideway-Duplicate', 'true');
      await endOfTurn();
      sendText(response, 200, id);
    },
  };
}

function decode(data: Uint8Array): PublishRequest {
  try {
    return fromBinary(PublishRequestSchema, data);
  } catch (error) {
    throw new Refusal('invalid_protobuf', { cause: error });
  }
}
