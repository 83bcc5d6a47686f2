/* The dialog of one connection: ready, next, packets, close, quit. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { text, warnings, world } from '../testing/fakes.js';

test('nothing is sent before ready', () => {
  const { client, socket } = world();
  client.init();
  client.sendMsg(text('early'));
  assert.deepEqual(socket().sent, []);
  assert.equal(client.isOpen(), false);
  socket().ready();
  assert.deepEqual(socket().sent, [text('early')]);
  assert.equal(client.isOpen(), true);
});

test('messages sent before init wait for the connection', () => {
  const { client, open } = world();
  assert.equal(client.sendMsg(text('first')), true);
  assert.deepEqual(open().sent, [text('first')]);
});

test('ready brings the uuid and calls the ready callback with the packet', () => {
  const { client, open, told } = world();
  assert.equal(client.uuid(), null);
  open('uuid-7');
  assert.equal(client.uuid(), 'uuid-7');
  assert.deepEqual(told('ready'), [[{ opcode: 'ready', uuid: 'uuid-7' }]]);
});

test('the next message goes out only when next has come', () => {
  const { client, open } = world();
  const socket = open();
  client.echo('one');
  client.echo('two');
  client.echo('three');
  assert.deepEqual(socket.sent, [text('one')]);
  socket.next();
  assert.deepEqual(socket.sent, [text('one'), text('two')]);
  socket.next();
  socket.next();
  assert.deepEqual(socket.sent, [text('one'), text('two'), text('three')]);
});

test('a packet between a message and its next releases nothing', () => {
  const { client, open } = world();
  const socket = open();
  client.echo('one');
  client.echo('two');
  socket.say({ opcode: 'broadcast', message: 'hello' });
  assert.equal(socket.sent.length, 1);
});

test('next with an empty queue is harmless', () => {
  const { client, open, events } = world();
  const socket = open();
  const before = events.length;
  socket.next();
  socket.next();
  client.echo('one');
  client.echo('two');
  assert.deepEqual(socket.sent, [text('one')]);
  assert.equal(events.length, before);
});

test('a message of the ready callback comes behind those that waited', () => {
  const { client, socket } = world();
  client.setCallback('ready', () => client.echo('from ready'));
  client.echo('waited');
  client.init();
  socket().ready();
  socket().next();
  assert.deepEqual(socket().sent, [text('waited'), text('from ready')]);
});

test('every other packet goes to readMessage as it came', () => {
  const { open, told } = world();
  const packets = [
    { opcode: 'broadcast', message: { deep: [1, null] }, more: true },
    { opcode: 'feedback', message: 'loop', progress: 40 },
    { opcode: 'echo', message: '' },
    { opcode: 'something new' },
    { message: 'no opcode' },
  ];
  const socket = open();
  packets.forEach((packet) => socket.say(packet));
  assert.deepEqual(told('readMessage').flat(), packets);
});

test('a message with pong in its text is not dropped', () => {
  const { open, told } = world();
  open().say({ opcode: 'broadcast', message: 'ping pong' });
  assert.equal(told('readMessage')[0][0].message, 'ping pong');
});

test('what is no JSON packet is reported and not thrown', (t) => {
  const warned = warnings(t);
  const { client, open, told } = world();
  const socket = open();
  for (const bad of ['{"opcode":', '', 'pong', 'null', '7', '"text"']) {
    socket.say(bad);
  }
  socket.onmessage({ data: new ArrayBuffer(8) });
  assert.equal(warned.length, 7);
  assert.equal(told('status').filter(([, detail]) => detail.error).length, 7);
  assert.equal(told('readMessage').length, 0);
  client.echo('still alive');
  assert.deepEqual(socket.sent, [text('still alive')]);
});

test('a long reported text is cut', (t) => {
  const warned = warnings(t);
  const { open } = world();
  open().say('x'.repeat(10_000));
  assert.ok(warned[0].length < 200);
});

test('broadcast, feedback and echo have the fields of the original', () => {
  const { client, open } = world();
  const socket = open('me');
  client.broadcast({ any: 'thing' });
  socket.next();
  client.feedback('progress', 'you');
  socket.next();
  client.echo('hello');
  assert.deepEqual(socket.sent, [
    { opcode: 'broadcast', message: { any: 'thing' } },
    { opcode: 'feedback', message: 'progress', uuid: 'you', fromUUID: 'me', from: 'me' },
    { opcode: 'echo', message: 'hello' },
  ]);
});

test('feedback that waited for the connection carries the uuid it went out with', () => {
  const { client, open } = world();
  client.feedback('early', 'you');
  assert.equal(open('me').sent[0].fromUUID, 'me');
});

test('a message is taken as it is when it is sent, not as it is later', () => {
  const { client, open } = world();
  const message = text('before');
  client.sendMsg(message);
  message.message = 'after';
  assert.deepEqual(open().sent, [text('before')]);
});

test('what JSON cannot express is refused where it is sent', async () => {
  const { client } = world();
  assert.throws(() => client.sendMsg(undefined), TypeError);
  const circle = {};
  circle.self = circle;
  assert.throws(() => client.broadcast(circle), TypeError);
  await assert.rejects(client.sendAsync(undefined), TypeError);
});

test('close from the server stops the sending and tells its error', () => {
  const { client, open, told } = world();
  const socket = open();
  socket.say({ opcode: 'close', error: 'server stops' });
  client.echo('too late for this connection');
  assert.equal(client.isOpen(), false);
  assert.deepEqual(socket.sent, []);
  assert.deepEqual(told('status').at(-1)[1], { state: 'closing', error: 'server stops' });
});

test('a server that says close and does not hang up is left', () => {
  const { open, clock, told } = world();
  const socket = open();
  socket.say({ opcode: 'close' });
  clock.advance(1_999);
  assert.equal(socket.closed, false);
  clock.advance(1);
  assert.equal(socket.closed, true);
  assert.equal(told('close').length, 1);
});

test('quit says quit and leaves the closing to the server', () => {
  const { client, clock, open, told } = world();
  const socket = open();
  client.quit();
  assert.deepEqual(socket.sent, [{ opcode: 'quit' }]);
  assert.equal(client.isOpen(), false);
  assert.equal(socket.closed, false);
  socket.next();
  socket.drop(1000);
  assert.deepEqual(told('status').at(-1), ['Disconnected', { state: 'closed' }]);
  assert.deepEqual(told('close'), [[{ code: 1000, reason: '', wasClean: true, reconnect: false }]]);
  assert.equal(clock.pending, 0);
});

test('quit lets the queue go out first, in lockstep', () => {
  const { client, open } = world();
  const socket = open();
  client.echo('one');
  client.echo('two');
  client.quit();
  assert.deepEqual(socket.sent, [text('one')]);
  socket.next();
  socket.next();
  assert.deepEqual(socket.sent, [text('one'), text('two'), { opcode: 'quit' }]);
});

test('quit while connecting still delivers what waits', () => {
  const { client, socket, told } = world();
  client.init();
  client.echo('wanted');
  client.quit();
  socket().ready();
  socket().next();
  assert.deepEqual(socket().sent, [text('wanted'), { opcode: 'quit' }]);
  assert.equal(told('ready').length, 0);
});

test('quit while connecting with nothing to say ends at once', () => {
  const { client, clock, socket, told } = world();
  client.init();
  client.quit();
  assert.equal(socket().closed, true);
  assert.equal(told('close').length, 1);
  assert.equal(clock.pending, 0);
});

test('quit does not wait for a server that does not answer', () => {
  const { client, clock, open, told } = world();
  const socket = open();
  client.echo('one');
  client.quit();
  clock.advance(2_000);
  assert.equal(socket.closed, true);
  assert.equal(told('status').at(-1)[1].state, 'closed');
  assert.equal(clock.pending, 0);
});

test('quit sent as a message is a quit', async () => {
  const { client, clock, open, sockets } = world();
  const socket = open();
  const said = client.sendAsync({ opcode: 'quit' });
  assert.deepEqual(socket.sent, [{ opcode: 'quit' }]);
  socket.next('bye');
  assert.equal(await said, 'bye');
  socket.drop(1000);
  clock.advance(600_000);
  assert.equal(sockets.length, 1);
});

test('quit before init and quit twice do no harm', () => {
  const { client, open, sockets } = world();
  client.quit();
  client.quit();
  assert.equal(sockets.length, 0);
  const socket = open();
  client.quit();
  client.quit();
  assert.deepEqual(socket.sent, [{ opcode: 'quit' }]);
});

test('init on an open connection replaces it, and the old one is not heard any more', () => {
  const { client, open, told } = world();
  const old = open('old');
  const fresh = open('new');
  assert.equal(old.closed, true);
  old.say({ opcode: 'broadcast' });
  old.drop();
  assert.equal(told('readMessage').length, 0);
  assert.equal(told('close').length, 0);
  assert.equal(client.uuid(), 'new');
  client.echo('hello');
  assert.deepEqual(fresh.sent, [text('hello')]);
});

test('init after quit connects again', (t) => {
  warnings(t);
  const { client, open, socket } = world();
  open();
  client.quit();
  socket().drop(1000);
  assert.equal(client.sendMsg(text('lost')), false);
  const fresh = open('uuid-2');
  assert.equal(client.echo('again'), true);
  assert.deepEqual(fresh.sent, [text('again')]);
});

test('callbacks may call quit and init', () => {
  const { client, socket, sockets } = world({ reconnect: false });
  client.setCallback('close', () => client.init());
  client.init();
  socket().drop();
  assert.equal(sockets.length, 2);
  client.setCallback('close', () => {});
  client.setCallback('ready', () => client.quit());
  socket().ready();
  assert.deepEqual(socket().sent, [{ opcode: 'quit' }]);
});

test('callbacks have names in any case and setters of their own', (t) => {
  const warned = warnings(t);
  const { client, open } = world();
  const called = [];
  client.setCallback('READY', () => called.push('ready'));
  client.setCallback('ReadMessage', () => called.push('read'));
  client.setCallbackStatus(() => called.push('status'));
  client.setCallbackClose(() => called.push('close'));
  const socket = open();
  socket.say(text('x'));
  socket.drop();
  assert.deepEqual(called, ['status', 'status', 'ready', 'read', 'status', 'close']);
  client.setCallbackReady(() => called.push('other ready'));
  client.setCallbackReadMessage(() => called.push('other read'));
  open().say(text('x'));
  assert.deepEqual(called.slice(-4), ['status', 'status', 'other ready', 'other read']);
  assert.equal(warned.length, 0);
});

test('a wrong callback is reported and changes nothing', (t) => {
  const warned = warnings(t);
  const { client, open, told } = world();
  client.setCallback('message', () => {});
  client.setCallback('constructor', () => {});
  client.setCallback('ready', 'not a function');
  assert.equal(warned.length, 3);
  open();
  assert.equal(told('ready').length, 1);
});
