/* Reconnecting: delays, when they start anew, when there are none, and the time limits. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { text, world } from '../testing/fakes.js';

/** The delays that `count` failing tries in a row announce. */
function delaysOf({ client, clock, socket, told }, count) {
  client.init();
  for (let i = 0; i < count; i += 1) {
    socket().drop();
    clock.advance(told('close').at(-1)[0].delay);
  }
  return told('close').map(([{ delay }]) => delay);
}

test('the delays double up to the longest', () => {
  assert.deepEqual(delaysOf(world(), 9), [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
});

test('the delays follow the options', () => {
  const delays = delaysOf(world({ reconnectDelay: 10, reconnectDelayMax: 35 }), 4);
  assert.deepEqual(delays, [10, 20, 35, 35]);
});

test('a share of each delay is random', () => {
  assert.deepEqual(delaysOf(world({ random: () => 1 }), 3), [250, 500, 1_000]);
  assert.deepEqual(delaysOf(world({ random: () => 0.5, reconnectJitter: 0.2 }), 3), [450, 900, 1_800]);
  assert.deepEqual(delaysOf(world({ random: () => 1, reconnectJitter: 0 }), 3), [500, 1_000, 2_000]);
});

test('thousands of tries do not break the arithmetic', () => {
  assert.equal(delaysOf(world(), 2_000).at(-1), 30_000);
});

test('the next try comes when the delay is over, and not before', () => {
  const { clock, open, sockets, socket } = world();
  open();
  socket().drop();
  clock.advance(499);
  assert.equal(sockets.length, 1);
  clock.advance(1);
  assert.equal(sockets.length, 2);
});

test('the status tells delay and number of the next try', () => {
  const { open, socket, told } = world();
  open();
  socket().drop();
  assert.deepEqual(told('status').at(-1), [
    'Connection lost, reconnecting in 1 s', { state: 'waiting', delay: 500, attempt: 1 },
  ]);
  assert.deepEqual(told('close'), [[{ code: 1006, reason: '', wasClean: false, reconnect: true, delay: 500 }]]);
});

test('there is no uuid between two connections, and a new one after', () => {
  const { client, clock, open, socket } = world();
  open('old');
  socket().drop();
  assert.equal(client.uuid(), null);
  assert.equal(client.isOpen(), false);
  clock.advance(500);
  socket().ready('new');
  assert.equal(client.uuid(), 'new');
});

test('a stable connection starts the delays anew', () => {
  const { clock, open, socket, told } = world();
  open();
  socket().drop();
  clock.advance(500);
  socket().drop();
  clock.advance(1_000);
  socket().ready();
  clock.advance(10_000);
  socket().drop();
  assert.deepEqual(told('close').map(([{ delay }]) => delay), [500, 1_000, 500]);
});

test('a connection that is lost too soon does not', () => {
  const { clock, open, socket, told } = world();
  open();
  socket().drop();
  clock.advance(500);
  socket().ready();
  clock.advance(9_999);
  socket().drop();
  clock.advance(30_000);
  assert.deepEqual(told('close').map(([{ delay }]) => delay), [500, 1_000]);
});

test('init starts the delays anew and does not wait', () => {
  const { client, clock, sockets, told, ...rest } = world();
  delaysOf({ client, clock, told, ...rest }, 5);
  rest.socket().drop();
  const before = sockets.length;
  client.init();
  assert.equal(sockets.length, before + 1);
  rest.socket().drop();
  assert.equal(told('close').at(-1)[0].delay, 500);
  clock.advance(500);
  assert.equal(sockets.length, before + 2, 'the cancelled try does not come as well');
});

test('with reconnect off a lost connection stays lost', () => {
  const { clock, open, socket, sockets, told } = world({ reconnect: false });
  open();
  socket().drop(1001, 'going away');
  assert.equal(clock.pending, 0);
  assert.equal(sockets.length, 1);
  assert.deepEqual(told('status').at(-1), ['Connection lost', { state: 'closed' }]);
  assert.deepEqual(told('close'), [[{ code: 1001, reason: 'going away', wasClean: true, reconnect: false }]]);
});

test('quit while waiting for the next try calls it off', () => {
  const { client, clock, open, socket, sockets, told } = world();
  open();
  socket().drop();
  client.quit();
  clock.advance(600_000);
  assert.equal(sockets.length, 1);
  assert.equal(clock.pending, 0);
  assert.equal(told('close').length, 1, 'the close callback was called when the connection was lost');
});

test('too many connections slows the reconnect down, in both spellings', () => {
  for (const error of ['To many connections from:  127.0.0.1', 'Too many connections']) {
    const { client, clock, socket, told } = world();
    client.init();
    socket().say({ opcode: 'close', error });
    socket().drop(1008);
    assert.equal(told('close')[0][0].delay, 60_000);
    clock.advance(60_000);
    socket().drop();
    assert.equal(told('close')[1][0].delay, 1_000, 'only the refused try is slowed down');
  }
});

test('close for another reason reconnects as usual', () => {
  const { open, socket, told } = world();
  open();
  socket().say({ opcode: 'close', error: 'server stops' });
  socket().drop(1001);
  assert.equal(told('close')[0][0].delay, 500);
});

test('a server that accepts and never says ready counts as lost', () => {
  const { client, clock, socket, told } = world();
  client.init();
  clock.advance(30_000);
  assert.equal(socket().closed, true);
  assert.deepEqual(told('close'), [[
    { code: 1006, reason: 'The server does not answer', wasClean: false, reconnect: true, delay: 500 },
  ]]);
});

test('a server that does not answer next counts as lost, and the message is sent again', () => {
  const { client, clock, open, socket, sockets } = world();
  open();
  client.echo('one');
  clock.advance(30_000);
  clock.advance(500);
  assert.equal(sockets.length, 2);
  socket().ready();
  assert.deepEqual(socket().sent, [text('one')]);
});

test('a long message on a slow line gets more time as long as it moves', () => {
  const { client, clock, open, socket, told } = world();
  open();
  client.echo('long');
  for (const unsent of [3_000, 2_000, 1_000, 0]) {
    assert.equal(told('close').length, 0);
    socket().bufferedAmount = unsent;
    clock.advance(30_000);
  }
  assert.equal(told('close').length, 1, 'everything is sent, and still no answer');
});

test('a message that does not move any more gets no more time', () => {
  const { client, clock, open, socket, told } = world();
  open();
  client.echo('stuck');
  socket().bufferedAmount = 3_000;
  clock.advance(60_000);
  assert.equal(told('close').length, 1);
});

test('a quiet connection is not given up', () => {
  const { client, clock, open, socket, told } = world();
  open();
  client.echo('one');
  socket().next();
  clock.advance(24 * 3_600_000);
  assert.equal(told('close').length, 0);
  assert.equal(clock.pending, 0);
});

test('an error without a close event counts as lost soon', () => {
  const { client, clock, socket, told } = world();
  client.init();
  socket().onerror({});
  clock.advance(2_000);
  assert.equal(told('close').length, 1);
});

test('a WebSocket that cannot be made is told, and init may be called again', () => {
  let broken = true;
  class Picky {
    constructor() {
      if (broken) {
        throw new SyntaxError('bad URL');
      }
    }

    close() {}
  }
  const { client, clock, told } = world({ WebSocket: Picky });
  client.init();
  assert.deepEqual(told('status').at(-1), ['Cannot open ws://host:8095/web: bad URL', { state: 'closed' }]);
  assert.equal(clock.pending, 0);
  broken = false;
  client.init();
  assert.equal(told('status').at(-1)[1].state, 'connecting');
});
