/* Rooms: joining, leaving, sending to a room, asking who is there, coming back after a loss. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outcome, world } from '../testing/fakes.js';

const joined = (room, more) => ({ opcode: 'join', room, ...more });

test('the functions send what the protocol says', () => {
  const { client, open } = world();
  const socket = open();
  client.join('r', { name: 'Ann', announce: true });
  client.join(7);
  client.broadcast('hi', { room: 'r' });
  client.broadcast('to all');
  client.leave('r');
  for (let i = 0; i < 5; i += 1) {
    socket.next();
  }
  assert.deepEqual(socket.sent, [
    { opcode: 'join', room: 'r', name: 'Ann', announce: true },
    { opcode: 'join', room: '7' },
    { opcode: 'broadcast', room: 'r', message: 'hi' },
    { opcode: 'broadcast', message: 'to all' },
    { opcode: 'leave', room: 'r' },
  ]);
});

test('a room without a name is an error and never everybody', () => {
  const { client, open } = world();
  const socket = open();
  for (const room of ['', undefined, null, {}, true]) {
    assert.throws(() => client.broadcast('secret', { room }), /must have a name/);
    assert.throws(() => client.join(room), /must have a name/);
    assert.throws(() => client.leave(room), /must have a name/);
  }
  assert.deepEqual(socket.sent, []);
});

test('broadcast as a callback of forEach still goes to all', () => {
  const { client, open } = world();
  const socket = open();
  ['one'].forEach(client.broadcast);
  assert.deepEqual(socket.sent, [{ opcode: 'broadcast', message: 'one' }]);
});

test('answers and refusals come to readMessage', () => {
  const { open, told } = world();
  const socket = open();
  const packets = [
    { opcode: 'joined', room: 'r', count: 1 },
    { opcode: 'left', room: 'r', count: 0 },
    { opcode: 'refused', refused: 'join', room: 'r', error: 'Too many rooms' },
    { opcode: 'who', room: 'r', count: 3 }, // of a page that sent the opcode itself
  ];
  packets.forEach((packet) => socket.say(packet));
  assert.deepEqual(told('readMessage'), packets.map((packet) => [packet]));
});

test('presence has a callback of its own, and without it comes to readMessage', () => {
  const { client, open, told } = world();
  const socket = open();
  const presence = { opcode: 'presence', room: 'r', count: 2, joined: 1 };
  socket.say(presence);
  assert.deepEqual(told('readMessage'), [[presence]]);
  const seen = [];
  client.setCallbackPresence((packet) => seen.push(packet));
  socket.say(presence);
  assert.deepEqual([seen, told('readMessage').length], [[presence], 1]);
});

test('who resolves with the answer, not with the next', async () => {
  const { client, open, told } = world();
  const socket = open();
  const promise = client.who('r');
  socket.next();
  assert.equal(await outcome(promise), 'pending');
  const answer = { opcode: 'who', room: 'r', count: 2, names: ['Ann'] };
  socket.say(answer);
  assert.deepEqual(await outcome(promise), ['resolved', answer]);
  assert.deepEqual(told('readMessage'), []);
});

test('several questions get their own answers', async () => {
  const { client, open } = world();
  const socket = open();
  const promises = ['a', 'b', 'c'].map((room) => client.who(room));
  socket.next();
  socket.say({ opcode: 'who', room: 'a', count: 1 });
  socket.next();
  socket.say({ opcode: 'refused', refused: 'who', room: 'b', error: 'Not a member' });
  socket.next();
  socket.say({ opcode: 'who', room: 'c', count: 3 });
  assert.equal((await promises[0]).count, 1);
  assert.deepEqual(await outcome(promises[1]), ['rejected', 'Not a member']);
  assert.equal((await promises[2]).count, 3);
});

test('who rejects without a name, without an answer, and when the connection is lost', async () => {
  const { client, clock, open, socket } = world({ replyTimeout: 1_000 });
  open();
  assert.deepEqual(await outcome(client.who('')), ['rejected', 'A room must have a name']);
  const [old, later] = [client.who('r'), client.sendAsync({ opcode: 'echo' })];
  socket().next();
  socket().next();
  assert.equal((await outcome(later))[0], 'resolved');
  clock.advance(1_000);
  assert.match((await outcome(old))[1], /does not answer/);
  const silent = client.who('r');
  socket().next();
  clock.advance(1_000);
  assert.match((await outcome(silent))[1], /does not answer/);
  const lost = client.who('r');
  socket().next();
  socket().drop();
  assert.match((await outcome(lost))[1], /connection was lost/);
});

test('an answer may come after further messages, and in another order', async () => {
  const { client, open } = world();
  const socket = open();
  const [a, b] = [client.who('a'), client.who('b')];
  const echo = client.sendAsync({ opcode: 'echo' });
  socket.next();
  socket.next();
  socket.next();
  await echo;
  socket.say({ opcode: 'who', room: 'b', count: 2 });
  socket.say({ opcode: 'who', room: 'a', count: 1 });
  assert.equal((await a).count, 1);
  assert.equal((await b).count, 2);
});

test('no timer is left of a question', async () => {
  const { client, clock, open } = world();
  const socket = open();
  const before = clock.pending;
  const promise = client.who('r');
  socket.next();
  socket.say({ opcode: 'who', room: 'r', count: 1 });
  await promise;
  assert.equal(clock.pending, before);
});

/** Loses the connection and gets the next one, which is `ready`. */
function reconnect({ clock, socket }) {
  socket().drop();
  clock.advance(20_000);
  socket().ready();
  return socket();
}

test('after a reconnect it joins its rooms again, before anything else', () => {
  const here = world();
  const socket = here.open();
  here.client.join('a', { name: 'Ann' });
  here.client.join('b');
  here.client.join('c');
  here.client.leave('b');
  for (let i = 0; i < 4; i += 1) {
    socket.next();
  }
  here.client.broadcast('waits', { room: 'a' });
  const next = reconnect(here);
  for (let i = 0; i < 3; i += 1) {
    next.next();
  }
  assert.deepEqual(next.sent, [joined('a', { name: 'Ann' }), joined('c'), { opcode: 'broadcast', room: 'a', message: 'waits' }]);
});

test('what was not acknowledged is sent once more, in its order', () => {
  const here = world();
  here.open();
  here.client.join('a');
  here.client.broadcast('in a', { room: 'a' });
  here.client.leave('a');
  const next = reconnect(here);
  for (let i = 0; i < 3; i += 1) {
    next.next();
  }
  assert.deepEqual(next.sent.map(({ opcode }) => opcode), ['join', 'broadcast', 'leave']);
  assert.deepEqual(reconnect(here).sent, [], 'it has left');
});

test('connections that are lost while it rejoins add nothing to the queue', () => {
  const here = world();
  const socket = here.open();
  here.client.join('a');
  here.client.join('b');
  socket.next();
  socket.next();
  for (let i = 0; i < 10; i += 1) {
    here.socket().drop();
    here.clock.advance(30_000);
    here.socket().ready();
  }
  const last = here.socket();
  for (let i = 0; i < 5; i += 1) {
    last.next();
  }
  assert.deepEqual(last.sent, [joined('a'), joined('b')]);
});

test('a room that refused it is not joined again, and neither is any after quit', () => {
  const here = world();
  const socket = here.open();
  here.client.join('full');
  here.client.join('b');
  socket.next();
  socket.say({ opcode: 'refused', refused: 'join', room: 'full', error: 'Too many rooms' });
  socket.next();
  assert.deepEqual(reconnect(here).sent, [joined('b')]);
  here.client.quit();
  here.socket().next();
  here.socket().next();
  here.socket().drop(1000);
  here.client.init();
  here.socket().ready();
  assert.deepEqual(here.socket().sent, []);
});
