/* Resuming, row by row of docs/resume.md: the same client on one connection after the other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeWindow, outcome, text, warnings, world } from '../testing/fakes.js';
import { ResumingServer, resumingWorld } from '../testing/resumingServer.js';

const note = (seq, more) => ({ opcode: 'feedback', message: `note ${seq}`, ...more, seq });
const welcome = (socket, more) => socket.say({ opcode: 'ready', uuid: 'uuid-1', resume: 'new', seq: 0, keep: 60, ...more });

/** A client that is welcomed by a server that resumes; the test plays the rest of it. */
function opened(options) {
  const here = world({ resume: true, ...options });
  here.client.init();
  welcome(here.socket());
  return here;
}

/** The connection breaks, and the next one is made. */
function broken({ clock, socket, told }, code = 1006) {
  socket().drop(code);
  clock.advance(told('close').at(-1)[0].delay);
  return socket();
}

const query = (socket) => new URL(socket.url).search;
const read = ({ told }) => told('readMessage').map(([packet]) => packet.message);

// ---- the request

test('the first request asks to be kept, the next ones name the client and its last message', () => {
  const here = opened();
  assert.equal(here.socket().url, 'ws://host:8095/web?resume=');
  here.socket().say(note(1));
  here.socket().say(note(2));
  assert.equal(broken(here).url, 'ws://host:8095/web?resume=uuid-1&seq=2');
});

test('a query of the page stays', () => {
  const { client, socket } = world({ resume: true }, 'ws://host', '/web?shop=7');
  client.init();
  assert.equal(socket().url, 'ws://host/web?shop=7&resume=');
});

test('without the option nothing of this is sent, whatever the server says', () => {
  const { client, clock, socket, sockets, told } = world();
  client.init();
  welcome(socket());
  client.echo('one');
  socket().say(note(1));
  socket().say(note(1));
  assert.equal(told('readMessage').length, 2, 'a seq is data like any other');
  socket().drop(4000);
  clock.advance(500);
  assert.deepEqual(sockets.map(({ url, closeCode }) => [url, closeCode]), [['ws://host:8095/web', []], ['ws://host:8095/web', undefined]]);
  welcome(socket(), { resume: 'resumed' });
  assert.deepEqual(socket().sent, [text('one')]);
  assert.equal(told('ready').length, 2);
  assert.deepEqual(told('resume'), []);
});

test('the last at goes with it, also where later messages have none', () => {
  const here = opened();
  here.socket().say(note(1, { at: '17-3 ü' }));
  here.socket().say(note(2));
  assert.equal(broken(here).url, 'ws://host:8095/web?resume=uuid-1&seq=2&at=17-3%20%C3%BC');
  welcome(here.socket(), { resume: 'resumed', seq: 2 });
  here.socket().say(note(3, { at: 18 }));
  assert.equal(query(broken(here)), '?resume=uuid-1&seq=3&at=18');
});

test('what a page calls at and is no place stays out of the request', () => {
  const here = opened();
  here.socket().say(note(1, { at: { hour: 7 } }));
  here.socket().say(note(2, { at: 'x'.repeat(10_000) }));
  assert.equal(query(broken(here)), '?resume=uuid-1&seq=2');
});

test('a ready may bring a place too, and a new client has none of the old one', () => {
  const here = opened();
  here.socket().say(note(1, { at: '5' }));
  welcome(broken(here), { resume: 'gap', seq: 7, at: '9' });
  assert.equal(query(broken(here)), '?resume=uuid-1&seq=7&at=9');
  welcome(here.socket(), { uuid: 'uuid-2', resume: 'lost' });
  assert.equal(query(broken(here)), '?resume=uuid-2&seq=0');
});

test('no status line shows the uuid', () => {
  const here = opened();
  broken(here);
  assert.equal(JSON.stringify(here.told('status')).includes('uuid-1'), false);
});

// ---- how it went

test('new: ready is told, and nothing of a resume', () => {
  const { client, told } = opened();
  assert.equal(client.uuid(), 'uuid-1');
  assert.equal(told('ready').length, 1);
  assert.deepEqual(told('resume'), []);
});

test('resumed: the page is told so and has missed nothing', () => {
  const here = opened();
  here.socket().say(note(1));
  const socket = broken(here);
  assert.deepEqual([here.client.uuid(), here.client.isOpen()], ['uuid-1', false], 'the uuid holds meanwhile');
  welcome(socket, { resume: 'resumed', seq: 1 });
  socket.say(note(2));
  assert.deepEqual(here.told('resume'), [[{ outcome: 'resumed', lost: undefined }]]);
  assert.equal(here.told('ready').length, 1, 'to the page nothing happened');
  assert.deepEqual(read(here), ['note 1', 'note 2']);
});

test('gap: the page is told how many are missing, where that is known', () => {
  const here = opened();
  welcome(broken(here), { resume: 'gap', seq: 5, lost: 5 });
  here.socket().say(note(6));
  welcome(broken(here), { resume: 'gap', seq: 9 });
  assert.deepEqual(here.told('resume'), [[{ outcome: 'gap', lost: 5 }], [{ outcome: 'gap', lost: undefined }]]);
  assert.equal(here.told('ready').length, 1);
  assert.equal(query(broken(here)), '?resume=uuid-1&seq=9');
});

test('lost: a new uuid, its own numbers, and ready again', () => {
  const here = opened();
  here.socket().say(note(1));
  here.socket().say(note(2));
  welcome(broken(here), { uuid: 'uuid-2', resume: 'lost' });
  here.socket().say(note(1));
  assert.deepEqual(here.told('resume'), [[{ outcome: 'lost' }]]);
  assert.deepEqual(here.told('ready').map(([{ uuid }]) => uuid), ['uuid-1', 'uuid-2']);
  assert.deepEqual(read(here), ['note 1', 'note 2', 'note 1']);
  assert.equal(query(broken(here)), '?resume=uuid-2&seq=1');
});

test('a server that keeps nobody works as before, and each return counts as lost', () => {
  const here = world({ resume: true });
  const socket = here.open('a');
  here.client.echo('one');
  socket.say(note(1));
  socket.say(note(1));
  assert.equal(read(here).length, 2, 'its numbers are the pages\' own');
  broken(here).ready('b');
  assert.equal(query(here.socket()), '?resume=');
  assert.deepEqual(here.socket().sent, [text('one')], 'nothing is numbered');
  assert.equal(here.told('ready').length, 2);
  assert.deepEqual(here.told('resume'), [[{ outcome: 'lost' }]]);
});

test('a server that resumes no more, or begins to', () => {
  const here = opened();
  broken(here).ready('b');
  assert.equal(query(broken(here)), '?resume=');
  welcome(here.socket(), { uuid: 'c' });
  assert.equal(query(broken(here)), '?resume=c&seq=0');
  assert.deepEqual(here.told('resume'), [[{ outcome: 'lost' }], [{ outcome: 'lost' }]]);
});

test('status is ready and the queue moves before the page is told of the resume', () => {
  const here = opened();
  const seen = [];
  here.client.setCallbackResume(() => seen.push(here.client.isOpen(), here.client.echo('from the callback')));
  welcome(broken(here), { resume: 'resumed' });
  assert.deepEqual(seen, [true, true]);
  assert.deepEqual(here.socket().sent, [{ ...text('from the callback'), cseq: 1 }]);
});

// ---- what comes

test('a message that comes twice is delivered once', () => {
  const here = opened();
  here.socket().say(note(1));
  here.socket().say(note(1));
  here.socket().say(note(2));
  welcome(broken(here), { resume: 'resumed', seq: 2 });
  [1, 2, 3, 3, 2, 4].forEach((seq) => here.socket().say(note(seq)));
  assert.deepEqual(read(here), ['note 1', 'note 2', 'note 3', 'note 4']);
});

test('a ready with a lower number does not bring old messages back', () => {
  const here = opened();
  [1, 2, 3].forEach((seq) => here.socket().say(note(seq)));
  welcome(broken(here), { resume: 'resumed', seq: 1 });
  [2, 3, 4].forEach((seq) => here.socket().say(note(seq)));
  assert.deepEqual(read(here), ['note 1', 'note 2', 'note 3', 'note 4']);
});

test('presence, who and refused are numbered messages like others', async () => {
  const here = opened();
  const presence = { opcode: 'presence', room: 'r', count: 2, seq: 1 };
  here.socket().say(presence);
  here.socket().say(presence);
  assert.deepEqual(here.told('readMessage'), [[presence]]);
  const answer = here.client.who('r');
  here.socket().next();
  here.socket().say({ opcode: 'who', room: 'r', count: 2, seq: 2 });
  assert.equal((await answer).count, 2);
  assert.equal(query(broken(here)), '?resume=uuid-1&seq=2');
});

test('text that is no object is unwrapped', () => {
  const here = opened();
  ['plain words', '[1,2]', '"quoted"', '17'].forEach((line, i) => here.socket().say({ opcode: 'text', text: line, seq: i + 1 }));
  assert.deepEqual(here.told('readMessage'), [['plain words'], [[1, 2]], ['"quoted"'], ['17']]);
  assert.equal(query(broken(here)), '?resume=uuid-1&seq=4');
});

test('without numbers an opcode text is a packet like any other', () => {
  const { open, told } = world();
  open().say({ opcode: 'text', text: 'x' });
  assert.deepEqual(told('readMessage'), [[{ opcode: 'text', text: 'x' }]]);
});

// ---- what goes

test('each message has a number that grows, also after a return', () => {
  const here = opened();
  ['one', 'two'].forEach(here.client.echo);
  here.socket().next();
  here.socket().next();
  welcome(broken(here), { resume: 'resumed' });
  here.client.feedback('three', 'you');
  assert.deepEqual(here.socket().sent, [{ opcode: 'feedback', message: 'three', uuid: 'you', fromUUID: 'uuid-1', from: 'uuid-1', cseq: 3 }]);
});

test('the one message without next is sent again under its number, and no other', () => {
  const here = opened();
  ['one', 'two', 'three'].forEach(here.client.echo);
  here.socket().next();
  welcome(broken(here), { resume: 'resumed' });
  assert.deepEqual(here.socket().sent, [{ ...text('two'), cseq: 2 }]);
  welcome(broken(here), { resume: 'gap', seq: 9 });
  here.socket().next();
  here.socket().next();
  assert.deepEqual(here.socket().sent, [{ ...text('two'), cseq: 2 }, { ...text('three'), cseq: 3 }]);
});

test('to a server that has lost the client the numbers begin anew, joins first', () => {
  const here = opened();
  here.client.join('r');
  here.socket().next();
  here.client.echo('one');
  here.client.echo('two');
  for (const uuid of ['uuid-2', 'uuid-3']) {
    welcome(broken(here), { uuid, resume: 'lost' });
    here.socket().next();
    assert.deepEqual(here.socket().sent, [{ opcode: 'join', room: 'r', cseq: 1 }, { ...text('one'), cseq: 2 }]);
  }
  here.client.join('s');
  [1, 2, 3].forEach(() => here.socket().next());
  here.client.echo('three');
  welcome(broken(here), { uuid: 'uuid-4', resume: 'lost' });
  [1, 2].forEach(() => here.socket().next());
  assert.deepEqual(here.socket().sent.map(({ cseq }) => cseq), [1, 2, 3]);
});

test('what is no object goes out as it is, and a cseq of the page gives way', () => {
  const here = opened();
  here.client.sendMsg([1, 2]);
  here.client.sendMsg({ cseq: 99 });
  here.client.sendMsg({});
  [1, 2, 3].forEach(() => here.socket().next());
  assert.deepEqual(here.socket().sent, [[1, 2], { cseq: 1 }, { cseq: 2 }]);
});

test('a long message is sent again whole', () => {
  const here = opened();
  const long = 'ü'.repeat(300_000);
  here.client.echo(long);
  welcome(broken(here), { resume: 'resumed' });
  here.socket().next();
  assert.deepEqual(here.socket().sent, [{ ...text(long), cseq: 1 }]);
});

test('sendAsync resolves with the next of the second sending', async () => {
  const here = opened();
  const promise = here.client.sendAsync(text('one'));
  welcome(broken(here), { resume: 'resumed' });
  assert.equal(await outcome(promise), 'pending');
  here.socket().next('second');
  assert.deepEqual(await outcome(promise), ['resolved', 'second']);
});

// ---- rooms

test('resumed and gap: the server kept the rooms, they are not joined again; lost: they are', () => {
  const here = resumingWorld();
  here.open();
  here.client.join('a', { name: 'Ann' });
  here.client.join('b');
  here.server.settle();
  here.loseAndReturn();
  assert.deepEqual(here.socket().sent, []);
  assert.deepEqual(here.server.rooms('uuid-1'), ['a', 'b']);
  here.server.forget();
  here.loseAndReturn();
  assert.deepEqual(here.socket().sent.map(({ room, name }) => [room, name]), [['a', 'Ann'], ['b', undefined]]);
  assert.deepEqual(here.server.rooms('uuid-2'), ['a', 'b']);
});

test('joins that a loss interrupts go on where they were', () => {
  const here = resumingWorld();
  here.open();
  ['a', 'b', 'c'].forEach((room) => here.client.join(room));
  here.server.settle();
  here.server.forget();
  here.server.cut();
  here.clock.advance(500);
  here.server.step(); // ready
  here.server.step(); // the first join arrives
  here.loseAndReturn();
  here.loseAndReturn();
  assert.deepEqual(here.server.rooms('uuid-2'), ['a', 'b', 'c']);
  assert.deepEqual(here.server.acted.map(({ room }) => room), ['a', 'b', 'c', 'a', 'b', 'c']);
});

test('a question survives the loss of its connection, wherever that is cut', async () => {
  for (let at = 0; at < 5; at += 1) {
    const here = resumingWorld();
    here.open();
    here.client.join('r');
    here.server.settle();
    const [inside, outside] = [here.client.who('r'), here.client.who('elsewhere')];
    for (let i = 0; i < at; i += 1) {
      here.server.step();
    }
    here.loseAndReturn();
    assert.equal((await outcome(inside))[1].count, 1, `cut after ${at} frames`);
    assert.deepEqual(await outcome(outside), ['rejected', 'Not a member'], `cut after ${at} frames`);
    assert.deepEqual(here.told('readMessage').map(([{ opcode }]) => opcode), ['joined']);
  }
});

test('a question rejects when its client is lost, and when the client quits', async () => {
  const here = opened();
  const one = here.client.who('r');
  here.socket().next();
  const socket = broken(here);
  assert.equal(await outcome(one), 'pending');
  welcome(socket, { uuid: 'uuid-2', resume: 'lost' });
  assert.deepEqual(await outcome(one), ['rejected', 'The connection was lost']);
  const two = here.client.who('r');
  here.socket().next();
  here.socket().drop();
  here.client.quit();
  assert.deepEqual(await outcome(two), ['rejected', 'The connection was lost']);
});

test('a join that is refused is not repeated, wherever the connection is cut', () => {
  for (let at = 0; at < 4; at += 1) {
    const here = resumingWorld();
    here.open();
    here.client.join('closed');
    for (let i = 0; i < at; i += 1) {
      here.server.step();
    }
    here.loseAndReturn();
    here.server.forget();
    here.loseAndReturn();
    assert.deepEqual(here.socket().sent, [], `cut after ${at} frames`);
  }
});

// ---- the end

test('broken, going away, restart, try again: the client comes back as itself', () => {
  for (const code of [1001, 1005, 1006, 1012, 1013]) {
    const here = opened();
    assert.equal(query(broken(here, code)), '?resume=uuid-1&seq=0', `after ${code}`);
  }
});

test('1000 from the server is the end of the client, the next one is new', () => {
  const here = opened();
  assert.equal(query(broken(here, 1000)), '?resume=');
  welcome(here.socket(), { uuid: 'uuid-2' });
  assert.deepEqual(here.told('resume'), [[{ outcome: 'lost' }]]);
});

test('4000: another connection has the client, so this one stops and says so', async () => {
  const { client, clock, socket, sockets, told } = opened();
  const waiting = client.sendAsync(text('one'));
  socket().drop(4000, 'Resumed on another connection');
  clock.advance(600_000);
  assert.equal(sockets.length, 1);
  assert.equal(client.uuid(), null);
  assert.deepEqual(told('close'), [[{ code: 4000, reason: 'Resumed on another connection', wasClean: true, reconnect: false }]]);
  assert.deepEqual(told('status').at(-1), ['Resumed on another connection', { state: 'closed' }]);
  assert.equal((await outcome(waiting))[0], 'rejected');
  client.init();
  assert.equal(query(socket()), '?resume=', 'who wants to goes on as a new client and takes nothing back');
});

test('quit ends the client, connected or not', () => {
  for (const connected of [true, false]) {
    const here = opened();
    if (!connected) {
      here.socket().drop();
    }
    here.client.quit();
    if (connected) {
      assert.deepEqual(here.socket().sent, [{ opcode: 'quit', cseq: 1 }]);
      here.socket().next();
      here.socket().drop(1000);
    }
    assert.equal(here.client.uuid(), null);
    here.client.init();
    assert.equal(query(here.socket()), '?resume=');
    welcome(here.socket(), { uuid: 'uuid-2' });
    assert.deepEqual(here.told('resume'), []);
    assert.equal(here.told('ready').length, 2);
  }
});

test('a quit that nobody answers closes without a code, which ends the client', () => {
  const here = opened();
  here.client.quit();
  here.clock.advance(2_000);
  assert.deepEqual(here.socket().closeCode, []);
});

test('a connection that is given up is not closed as if the client went', () => {
  const here = opened();
  here.client.echo('one');
  here.clock.advance(30_000);
  assert.deepEqual(here.socket().closeCode, [4001]);
  here.clock.advance(30_000);
  welcome(here.socket(), { resume: 'resumed' });
  assert.deepEqual(here.socket().sent, [{ ...text('one'), cseq: 1 }]);
});

test('init replaces the connection, not the client', () => {
  const here = opened();
  here.client.init();
  assert.deepEqual(here.sockets.map(({ url, closeCode }) => [new URL(url).search, closeCode]), [['?resume=', [4001]], ['?resume=uuid-1&seq=0', undefined]]);
});

test('with reconnect off a loss ends the client', () => {
  const here = opened({ reconnect: false });
  here.socket().drop();
  assert.equal(here.client.uuid(), null);
  assert.equal(here.clock.pending, 0);
});

test('429 and a server that is down are tried again, more and more seldom, under the same uuid', () => {
  const here = opened();
  here.client.echo('waits');
  here.socket().drop();
  for (const delay of [500, 1_000, 2_000, 4_000]) {
    assert.equal(here.told('close').at(-1)[0].delay, delay);
    here.clock.advance(delay);
    assert.equal(query(here.socket()), '?resume=uuid-1&seq=0');
    here.socket().onerror({}); // all that a browser tells of an HTTP answer
    here.socket().drop();
  }
  here.client.echo('too');
  here.clock.advance(8_000);
  welcome(here.socket(), { resume: 'resumed' });
  here.socket().next();
  assert.deepEqual(here.socket().sent, [{ ...text('waits'), cseq: 1 }, { ...text('too'), cseq: 2 }]);
});

test('a message that the server blames is given up, the one behind it goes to the new client', (t) => {
  warnings(t);
  const here = opened();
  ['huge', 'small'].forEach(here.client.echo);
  welcome(broken(here, 1009), { uuid: 'uuid-2', resume: 'lost' });
  assert.deepEqual(here.socket().sent, [{ ...text('small'), cseq: 1 }]);
});

// ---- every place where a connection can break

const PUSHES = 5;
const SENDS = 5;

/** Sends and pushes in turn, with a cut after those many frames each. */
function exercise(cuts, options, server) {
  const here = resumingWorld(options, server);
  here.open();
  let frames = 0;
  for (let i = 0; i < Math.max(PUSHES, SENDS) || here.server.step();) {
    if (i < Math.max(PUSHES, SENDS)) {
      here.server.push('uuid-1', { opcode: 'feedback', message: `push ${i}` });
      here.client.echo(`send ${i}`);
      i += 1;
      here.server.step();
    }
    frames += 1;
    if (cuts.includes(frames)) {
      here.server.cut();
      here.clock.advance(30_000);
    }
  }
  return { ...here, frames };
}

function isWhole({ server, told, client }, what) {
  const sends = Array.from({ length: SENDS }, (_, i) => `send ${i}`);
  assert.deepEqual(server.acted.map(({ message }) => message), sends, `acted on, ${what}`);
  const messages = told('readMessage').map(([packet]) => packet.message);
  assert.deepEqual(messages.filter((message) => message.startsWith('send')), sends, `echoes, ${what}`);
  assert.deepEqual(messages.filter((message) => message.startsWith('push')), Array.from({ length: PUSHES }, (_, i) => `push ${i}`), `pushes, ${what}`);
  const numbers = told('readMessage').map(([packet]) => packet.seq);
  assert.deepEqual(numbers, Array.from({ length: SENDS + PUSHES }, (_, i) => i + 1), `numbers, ${what}`);
  assert.equal(told('ready').length, 1, `ready, ${what}`);
  assert.equal(client.uuid(), 'uuid-1');
}

test('a cut after any frame loses nothing and doubles nothing, in either direction', () => {
  const { frames } = exercise([]);
  for (let first = 1; first <= frames; first += 1) {
    isWhole(exercise([first]), `cut after frame ${first}`);
    for (let second = first + 1; second <= first + 8; second += 1) {
      isWhole(exercise([first, second]), `cut after frames ${first} and ${second}`);
    }
  }
  isWhole(exercise(Array.from({ length: 40 }, (_, i) => 3 * i)), 'cut after every third frame');
});

test('the same with places, and with a queue that is filled while the connection is down', () => {
  const here = resumingWorld({}, new ResumingServer({ at: true }));
  here.open();
  here.server.push('uuid-1', { opcode: 'feedback', message: 'a' });
  here.server.settle();
  here.server.cut();
  ['b', 'c'].forEach((message) => here.server.push('uuid-1', { opcode: 'feedback', message }));
  ['one', 'two'].forEach(here.client.echo);
  here.clock.advance(500);
  assert.equal(query(here.socket()), '?resume=uuid-1&seq=1&at=1-0');
  here.server.settle();
  assert.deepEqual(read(here), ['a', 'b', 'c', 'one', 'two']);
  assert.deepEqual(here.server.acted.map(({ message }) => message), ['one', 'two']);
});

test('what the server kept no longer is a gap of that size, and the rest comes', () => {
  const here = resumingWorld({}, new ResumingServer({ keep: 2 }));
  here.open();
  here.server.cut();
  ['a', 'b', 'c', 'd', 'e'].forEach((message) => here.server.push('uuid-1', { opcode: 'feedback', message }));
  here.clock.advance(500);
  here.server.settle();
  assert.deepEqual(here.told('resume'), [[{ outcome: 'gap', lost: 3 }]]);
  assert.deepEqual(read(here), ['d', 'e']);
});

// ---- the page goes

test('a page that goes closes with 1000, one that stays in the cache does not', () => {
  const window = new FakeWindow();
  const { client, clock, socket } = opened({ window });
  window.leave(true);
  assert.equal(socket().closed, false);
  window.leave();
  assert.deepEqual(socket().closeCode, [1000]);
  assert.equal(client.uuid(), null);
  assert.equal(clock.pending, 0);
  assert.deepEqual(window.stored, []);
});

test('a page that goes while it waits for its connection comes back no more', () => {
  const window = new FakeWindow();
  const { clock, socket, sockets } = opened({ window });
  socket().drop();
  window.leave();
  clock.advance(600_000);
  assert.equal(sockets.length, 1);
});

test('without the option a page that goes says nothing', () => {
  const window = new FakeWindow();
  const { open, socket } = world({ window });
  open();
  window.leave();
  assert.equal(socket().closed, false);
});

/** A page in that tab. */
const page = (window, server) => resumingWorld({ window, resume: 'reload' }, server);

test('reload: the page goes on as the client it was, its numbers grow, its rooms stay', () => {
  const [window, server] = [new FakeWindow(), new ResumingServer({ at: true })];
  const before = page(window, server);
  before.open();
  before.client.join('r');
  before.client.echo('one');
  server.settle();
  window.leave();
  assert.equal(before.socket().closed, false, 'the browser closes it, in its way');
  server.cut(1001);
  server.push('uuid-1', { opcode: 'feedback', message: 'meanwhile' });
  const after = page(window, server);
  after.open();
  assert.equal(query(after.sockets[0]), '?resume=uuid-1&seq=2&at=2-0');
  assert.deepEqual(after.told('resume'), [[{ outcome: 'resumed', lost: undefined }]]);
  assert.equal(after.told('ready').length, 1, 'it is the first ready of this page');
  assert.deepEqual(read(after), ['meanwhile']);
  after.client.echo('two');
  server.settle();
  assert.deepEqual(after.socket().sent, [{ ...text('two'), cseq: 3 }]);
  assert.deepEqual(server.acted.map(({ opcode }) => opcode), ['join', 'echo', 'echo']);
  server.forget();
  after.loseAndReturn();
  assert.deepEqual(after.socket().sent, [{ opcode: 'join', room: 'r', cseq: 1 }], 'it knows its rooms');
});

test('reload: while a page lives nothing is stored, so a duplicate of its tab is a client of its own', () => {
  const [window, server] = [new FakeWindow(), new ResumingServer()];
  page(window, server).open();
  window.leave();
  const reloaded = page(window, server);
  reloaded.open();
  assert.deepEqual(window.stored, []);
  const duplicate = page(new FakeWindow(window.stored), server);
  duplicate.open();
  assert.equal(query(duplicate.socket()), '?resume=');
  assert.deepEqual([reloaded.client.isOpen(), duplicate.client.isOpen()], [true, true]);
  assert.notEqual(reloaded.client.uuid(), duplicate.client.uuid());
});

test('reload: of two tabs with the same past the later one goes on, the other is told and stops', () => {
  const [window, server] = [new FakeWindow(), new ResumingServer()];
  page(window, server).open();
  window.leave();
  const copy = new FakeWindow(window.stored);
  const [one, two] = [page(window, server), page(copy, server)];
  one.open();
  two.open();
  assert.deepEqual([one.client.isOpen(), two.client.isOpen()], [false, true]);
  assert.deepEqual(one.told('close').map(([{ code, reconnect }]) => [code, reconnect]), [[4000, false]]);
  one.clock.advance(600_000);
  assert.equal(one.sockets.length, 1);
  window.leave();
  assert.deepEqual(window.stored, [], 'and it leaves nothing to the page after it');
});

test('reload: other resources have a past of their own', () => {
  const window = new FakeWindow();
  opened({ window, resume: 'reload' });
  window.leave();
  const other = world({ window, resume: 'reload' }, 'ws://host:8095', '/other');
  other.client.init();
  assert.equal(query(other.socket()), '?resume=');
});

test('reload: quit, 4000 and a server that keeps nobody leave nothing behind', () => {
  for (const end of [({ client }) => client.quit(), ({ socket }) => socket().drop(4000), (here) => broken(here).ready('b')]) {
    const window = new FakeWindow();
    end(opened({ window, resume: 'reload' }));
    window.leave();
    assert.deepEqual(window.stored, []);
  }
});

test('reload: without a storage, or with rubbish in it, the page is a new client', () => {
  const barred = new FakeWindow();
  Object.defineProperty(barred, 'sessionStorage', { get() { throw new Error('SecurityError'); } });
  const window = new FakeWindow([['phpws resume ws://host:8095/web', '{"uuid":']]);
  for (const place of [barred, {}, window]) {
    const here = opened({ window: place, resume: 'reload' });
    assert.equal(query(here.socket()), '?resume=');
    assert.equal(here.client.isOpen(), true);
  }
  barred.leave();
});
