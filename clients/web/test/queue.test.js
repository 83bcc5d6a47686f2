/* The queue: acknowledgement, resending, limits, sendAsync. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outcome, text, warnings, world } from '../testing/fakes.js';

test('sendAsync resolves with the fyi of its next, not earlier', async () => {
  const { client, open } = world();
  const socket = open();
  const [one, two] = [client.sendAsync(text('one')), client.sendAsync(text('two'))];
  assert.equal(await outcome(one), 'pending');
  socket.next('for your information');
  assert.deepEqual(await outcome(one), ['resolved', 'for your information']);
  assert.equal(await outcome(two), 'pending');
  socket.next();
  assert.deepEqual(await outcome(two), ['resolved', '']);
});

test('sendAsync waits through a lost connection', async () => {
  const { client, clock, open, socket } = world();
  const promise = (open(), client.sendAsync(text('one')));
  socket().drop();
  assert.equal(await outcome(promise), 'pending');
  clock.advance(500);
  socket().ready();
  socket().next('second');
  assert.deepEqual(await outcome(promise), ['resolved', 'second']);
});

test('sendAsync rejects after quit and on quit with nobody to tell', async () => {
  const { client, open, socket } = world();
  open();
  socket().drop();
  const waiting = client.sendAsync(text('one'));
  client.quit();
  assert.deepEqual(await outcome(waiting), ['rejected', 'Disconnected; the message was not acknowledged']);
  assert.match((await outcome(client.sendAsync(text('two'))))[1], /call init/);
});

test('sendAsync rejects when the connection is lost and reconnect is off', async () => {
  const { client, open } = world({ reconnect: false });
  const socket = open();
  const both = [client.sendAsync(text('one')), client.sendAsync(text('two'))];
  socket.drop();
  for (const promise of both) {
    assert.deepEqual(await outcome(promise), ['rejected', 'Connection lost; the message was not acknowledged']);
  }
});

test('sendAsync rejects when the server cannot be reached and reconnect is off', async () => {
  const { client, socket } = world({ reconnect: false });
  client.init();
  const promise = client.sendAsync(text('one'));
  socket().drop();
  assert.deepEqual(await outcome(promise), ['rejected', 'No connection; the message was not acknowledged']);
});

test('an unacknowledged message is sent again in order, an acknowledged one is not', () => {
  const { client, clock, open, socket } = world();
  const first = open();
  ['one', 'two', 'three'].forEach(client.echo);
  first.next();
  assert.deepEqual(first.sent, [text('one'), text('two')]);
  first.drop();
  client.echo('four');
  clock.advance(500);
  socket().ready('uuid-2');
  for (let i = 0; i < 3; i += 1) {
    socket().next();
  }
  assert.deepEqual(socket().sent, [text('two'), text('three'), text('four')]);
});

test('a next before ready acknowledges nothing', () => {
  const { client, clock, open, socket } = world();
  open();
  client.echo('one');
  client.echo('two');
  socket().drop();
  clock.advance(500);
  socket().next();
  socket().ready();
  assert.deepEqual(socket().sent, [text('one')]);
});

test('feedback that is sent again carries the new uuid', () => {
  const { client, clock, open, socket } = world();
  open('old');
  client.feedback('x', 'you');
  socket().drop();
  clock.advance(500);
  socket().ready('new');
  assert.equal(socket().sent[0].fromUUID, 'new');
});

test('a full queue refuses the newest message and says so', async (t) => {
  const warned = warnings(t);
  const { client, open, told } = world({ queueLimit: 2 });
  assert.equal(client.echo('one'), true);
  assert.equal(client.echo('two'), true);
  assert.equal(client.echo('three'), false);
  assert.match(warned[0], /queue is full \(2 messages\)/);
  assert.match(told('status').at(-1)[1].error, /queue is full/);
  assert.deepEqual(await outcome(client.sendAsync(text('four'))), ['rejected', 'The queue is full (2 messages)']);
  const socket = open();
  socket.next();
  assert.deepEqual(socket.sent, [text('one'), text('two')]);
  assert.equal(client.echo('five'), true);
});

test('a full queue does not stop quit', () => {
  const { client, open } = world({ queueLimit: 1 });
  const socket = open();
  client.echo('one');
  client.quit();
  socket.next();
  assert.deepEqual(socket.sent, [text('one'), { opcode: 'quit' }]);
});

test('a queue limit of 0 is unlimited', () => {
  const { client } = world({ queueLimit: 0 });
  for (let i = 0; i < 5_000; i += 1) {
    assert.equal(client.echo(i), true);
  }
});

test('a message that the server blames is given up, the one behind it goes out', async (t) => {
  for (const code of [1003, 1007, 1009]) {
    const warned = warnings(t);
    const { client, clock, open, socket } = world();
    open();
    const huge = client.sendAsync(text('huge'));
    client.echo('small');
    socket().drop(code);
    assert.equal((await outcome(huge))[0], 'rejected');
    clock.advance(500);
    socket().ready();
    assert.deepEqual(socket().sent, [text('small')]);
    assert.match(warned[0], new RegExp(`Gave up .* ${code}`));
    t.mock.restoreAll();
  }
});

test('a message whose connection is lost again and again is given up after maxSends', (t) => {
  const warned = warnings(t);
  const { client, clock, open, socket } = world({ maxSends: 3 });
  open();
  client.echo('poison');
  client.echo('fine');
  for (let i = 1; i < 3; i += 1) {
    socket().drop();
    clock.advance(30_000);
    socket().ready();
    assert.deepEqual(socket().sent, [text('poison')]);
  }
  socket().drop();
  clock.advance(30_000);
  socket().ready();
  assert.deepEqual(socket().sent, [text('fine')]);
  assert.equal(warned.length, 1);
});

test('tries without a connection do not count for maxSends', () => {
  const { client, clock, open, socket } = world({ maxSends: 2 });
  open();
  client.echo('patient');
  for (let i = 0; i < 10; i += 1) {
    socket().drop();
    clock.advance(30_000);
  }
  socket().ready();
  assert.deepEqual(socket().sent, [text('patient')]);
});

test('with maxSends 0 a message is never given up', () => {
  const { client, clock, open, socket } = world({ maxSends: 0 });
  open();
  client.echo('stubborn');
  for (let i = 0; i < 20; i += 1) {
    socket().drop();
    clock.advance(30_000);
    socket().ready();
  }
  assert.deepEqual(socket().sent, [text('stubborn')]);
});

test('any order of drops delivers every message once acknowledged, in order', () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    let state = seed;
    const chance = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
    const { client, clock, open, socket, told } = world({ maxSends: 0 });
    open();
    const acknowledged = [];
    let queued = 0;
    while (acknowledged.length < 20) {
      const dice = chance();
      if (dice < 0.3 && queued < 20) {
        client.echo(queued);
        queued += 1;
      } else if (dice < 0.5) {
        socket().drop();
        clock.advance(told('close').at(-1)[0].delay);
        socket().ready();
      } else if (socket().sent.length > (socket().answered ?? 0)) {
        socket().answered = socket().sent.length;
        acknowledged.push(socket().sent.at(-1).message);
        socket().next();
      }
    }
    assert.deepEqual(acknowledged, Array.from({ length: 20 }, (_, i) => i), `seed ${seed}`);
  }
});
