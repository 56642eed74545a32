import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type StartStreamRequest,
  StartStreamRequestSchema,
  type StartStreamResponseSchema,
} from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { Principal } from '#lib/auth/principal.ts';
import type { StreamTokenSigner } from '#lib/auth/stream-token-signer.ts';
import { type Gate, parseOrgId } from '#lib/server/gate.ts';
import { originOf } from '#lib/server/origin.ts';
import { invalidField, Refusal } from '#lib/server/refusal.ts';
import { differentChannels } from './many-channels.ts';

export interface StartStreamOptions {
  readonly gate: Gate;
  readonly signer: StreamTokenSigner | undefined;
  /** Where browsers reach the edge, without a trailing slash. Undefined: where this call came in. */
  readonly publicUrl: string | undefined;
}

/**
 * StreamService.StartStream: a channel and a token to listen to it. Nothing is stored.
 * @param starter who was let in; undefined: anybody may.
 */
export async function startStream(
  request: StartStreamRequest,
  starter: Principal | undefined,
  call: { readonly requestHeader: Headers; readonly url: string },
  { gate, signer, publicUrl }: StartStreamOptions,
): Promise<MessageInitShape<typeof StartStreamResponseSchema>> {
  gate.validate(StartStreamRequestSchema, request);
  const orgId = parseOrgId(request.organization, 'organization');
  if (request.orgId !== undefined && request.orgId !== orgId) {
    throw invalidField('org_id', "must be the path's organization");
  }
  if (starter !== undefined) await gate.requireScope(starter, orgId, 'streams:start');
  if (signer === undefined) throw new Refusal('no_signing_key');
  const url = `${publicUrl ?? originOf(call)}/events/${orgId}`;
  const mayCancel = request.allowCancel;
  if (request.channelIds.length > 0) {
    if (request.channelId !== undefined) throw invalidField('channel_ids', 'are instead of channel_id');
    const channelIds = differentChannels(request.channelIds);
    return { conduit: { token: await signer.sign({ orgId, channelId: channelIds, mayCancel }), channelIds, url } };
  }
  const channelId = request.channelId?.toLowerCase() ?? randomUUID();
  const token = await signer.sign({ orgId, channelId, mayCancel });
  return { conduit: { token, channelId, url } };
}
