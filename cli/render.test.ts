import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { ControlType, Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { SubscribeResponseSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { render } from './render.ts';

type Init = { event: Exclude<MessageInitShape<typeof SubscribeResponseSchema>['event'], undefined> };
const event = (init: Init['event']) => create(SubscribeResponseSchema, { id: '5-0', event: init });

describe('render', () => {
  it('prints a text exactly, and any other payload as a line', () => {
    const message = (payload: Record<string, string | number>) =>
      event({ case: 'message', value: { phase: Phase.DELTA, payload } });
    expect(render(message({ text: 'to' }), false)).toEqual({ text: 'to', notice: '' });
    expect(render(message({ text: 'to', n: 1 }), false)).toEqual({ text: '{"text":"to","n":1}\n', notice: '' });
    expect(render(event({ case: 'message', value: { phase: Phase.START } }), false).text).toBe('');
  });

  it('reports an ERROR apart from the text', () => {
    const error = event({ case: 'message', value: { phase: Phase.ERROR, payload: { text: 'model away\n' } } });
    expect(render(error, false)).toEqual({ text: '', notice: 'error: model away' });
  });

  it('prints whole events as JSON with the names of the contract', () => {
    const value = { messageId: 'm', channelId: 'c', phase: Phase.END, sequence: 7n };
    expect(JSON.parse(render(event({ case: 'message', value }), true).text)).toEqual({
      id: '5-0',
      message: { message_id: 'm', channel_id: 'c', phase: 'PHASE_END', sequence: '7' },
    });
  });

  it.each([
    [ControlType.GAP, /next one is 9-0/],
    [ControlType.EXPIRED, /Nothing of what came after/],
    [ControlType.RESET, /rolled back/],
    [ControlType.PRODUCER_LOST, /producer was lost/],
    [ControlType.SERVER_DRAINING, /^$/],
  ])('tells of control %i', (type, notice) => {
    const control = event({ case: 'control', value: { type, firstId: '9-0' } });
    expect(render(control, false)).toEqual({ text: '', notice: expect.stringMatching(notice) });
    expect(JSON.parse(render(control, true).text)).toMatchObject({ control: { first_id: '9-0' } });
  });
});
