import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { listen, PortTakenError } from './listen.ts';
import {
  EMPTY_SETTINGS_FRAME,
  echo,
  eventually,
  GET,
  H2_PREFACE,
  h2,
  held,
  request,
  start,
  tcp,
} from './listen-testing.ts';
import type { NodeHandler } from './node-handler.ts';

describe('one port', () => {
  test('answers HTTP/1.1 and h2c', async () => {
    const listening = await start(echo);
    const post = await fetch(`http://127.0.0.1:${listening.port}`, { method: 'POST', body: 'x'.repeat(100_000) });
    expect(await post.text()).toBe('1.1 100000');
    const session = h2(listening);
    expect(await text(request(session, { ':method': 'POST' }, 'x'.repeat(300_000)))).toBe('2.0 300000');
    expect(await text(request(session))).toBe('2.0 0');
    expect(listening.connections()).toBe(2);
  });

  test.each([1, 2, 3, 20])('tells HTTP/1.1 by a first piece of %i bytes', async (length) => {
    const listening = await start(echo);
    // PROPFIND is the method that the h2 preface resembles the longest.
    const message = 'PROPFIND / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
    const socket = tcp(listening).setNoDelay(true);
    socket.write(message.slice(0, length));
    await eventually(() => listening.connections() === 1);
    socket.write(message.slice(length));
    expect(await text(socket)).toContain('HTTP/1.1 200 OK');
  });

  test.each([1, 3, 23])('tells h2 by a first piece of %i bytes', async (length) => {
    const listening = await start(echo);
    const socket = tcp(listening).setNoDelay(true);
    socket.write(H2_PREFACE.slice(0, length));
    await eventually(() => listening.connections() === 1);
    socket.write(H2_PREFACE.slice(length));
    socket.write(EMPTY_SETTINGS_FRAME, 'latin1');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    // A SETTINGS frame (type 4) comes first.
    expect(answer[3]).toBe(4);
  });

  test('answers requests that came in one piece with the first bytes', async () => {
    const listening = await start(echo);
    const socket = tcp(listening);
    socket.write(GET + GET.replace('Host: a', 'Host: a\r\nConnection: close'));
    const answers = await text(socket);
    expect(answers.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
  });

  test('says in one line that the port is taken', async () => {
    const listening = await start(echo);
    const second = listen({ host: '127.0.0.1', port: listening.port, handler: echo });
    await expect(second).rejects.toThrow(PortTakenError);
    await expect(second).rejects.toThrow(`port ${listening.port} on 127.0.0.1 is taken by another program`);
  });

  test("says in one line that an address is not this machine's", async () => {
    await expect(listen({ host: '240.0.0.1', port: 9, handler: echo })).rejects.toThrow(
      "can't listen on port 9 of 240.0.0.1 (EADDRNOTAVAIL)",
    );
  });

  test('answers 500 if a handler throws, and goes on', async () => {
    const errors: unknown[] = [];
    const fail: NodeHandler = () => {
      throw new Error('surprise');
    };
    const listening = await start(fail, { onError: (error) => errors.push(error) });
    const answer = await fetch(`http://127.0.0.1:${listening.port}`);
    expect(answer.status).toBe(500);
    const [headers] = await once(request(h2(listening)), 'response');
    expect(headers[':status']).toBe(500);
    expect(errors).toHaveLength(2);
  });
});

describe('stopping', () => {
  test('lets responses finish, and resolves with the last connection', async () => {
    const [onH1, onH2] = [held(), held()];
    const listening = await start((incoming, response) =>
      (incoming.httpVersion === '1.1' ? onH1 : onH2).handler(incoming, response),
    );
    const answer = await fetch(`http://127.0.0.1:${listening.port}`);
    const session = h2(listening);
    const stream = request(session);
    await Promise.all([onH1.started, onH2.started]);

    let isStopped = false;
    const goaway = once(session, 'goaway');
    const stopped = listening.stopAccepting().then(() => {
      isStopped = true;
    });
    expect((await goaway)[0]).toBe(0);
    await expect(fetch(`http://127.0.0.1:${listening.port}`)).rejects.toThrow();
    expect(isStopped).toBe(false);
    onH1.end('end');
    onH2.end('end');
    expect(await answer.text()).toBe('begin end');
    expect(await text(stream)).toBe('begin end');
    await stopped;
    await eventually(() => listening.connections() === 0);
  });

  test('closes idle connections of every kind', async () => {
    const listening = await start(echo);
    const [silent, idle] = [tcp(listening), tcp(listening)];
    silent.resume();
    idle.write(GET);
    await once(idle, 'data');
    const session = h2(listening);
    await text(request(session));
    expect(listening.connections()).toBe(3);
    await listening.stopAccepting();
    await eventually(() => listening.connections() === 0);
  });

  test('says Connection: close on responses that begin after it', async () => {
    const { promise: arrived, resolve: arrive } = Promise.withResolvers<() => void>();
    const listening = await start((_request, response) => {
      arrive(() => {
        response.writeHead(200);
        response.end('late');
      });
    });
    const socket = tcp(listening);
    socket.write(GET);
    const respond = await arrived;
    const stopped = listening.stopAccepting();
    respond();
    const answer = await text(socket);
    expect(answer.toLowerCase()).toContain('connection: close');
    expect(answer).toContain('late');
    await stopped;
  });

  test('destroy cuts what is left', async () => {
    const { handler, started } = held();
    const listening = await start(handler);
    const socket = tcp(listening);
    socket.write(GET);
    socket.resume();
    await started;
    const stopped = listening.stopAccepting();
    listening.destroy();
    await stopped;
    await eventually(() => socket.readableEnded || socket.destroyed);
  });
});
