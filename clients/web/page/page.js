/*
 * The built-in page: shows the connection, broadcast, echo and feedback at work. All words of
 * others reach the page through textContent only.
 */
import { socketWebClient } from './socketWebClient.js';

const MOST_HEARD = 50;
const LONGEST_TEXT = 1_000;

const $ = (id) => document.getElementById(id);
const client = socketWebClient('', '/web');

// ---- connection

const WORDS = {
  connecting: 'Connecting…',
  ready: 'Connected',
  closing: 'Closed by the server',
  waiting: 'Reconnecting',
  leaving: 'Disconnecting…',
  closed: 'Disconnected',
};

client.setCallback('status', (text, { state, delay, attempt, error }) => {
  $('status').dataset.state = state;
  $('status').textContent = delay === undefined
    ? WORDS[state]
    : `Reconnecting in ${Math.ceil(delay / 1000)} s (try ${attempt})`;
  if (error !== undefined || state === 'ready') {
    $('reason').textContent = error ?? '';
  }
  showUuid();
  const open = client.isOpen();
  $('connect').disabled = open || state === 'connecting' || state === 'leaving';
  $('disconnect').disabled = state === 'closed' || state === 'leaving';
  $('echo').disabled = !open;
  $('backend').disabled = !open || working;
  $('join').disabled = !open;
  if (state === 'closed') {
    showRoom(null); // the client forgets its rooms then
  }
});

client.setCallback('ready', showUuid);

client.setCallback('readMessage', (packet) => {
  switch (packet.opcode) {
    case 'broadcast': return heard(packet);
    case 'echo': return echoed(packet);
    case 'feedback': return reported(packet);
    case 'joined': return showRoom(packet.room, packet.count);
    case 'left': return showRoom(null);
    case 'refused': return refused(packet);
    default: return undefined; // an application's own opcodes are not for this page
  }
});

client.setCallback('presence', (packet) => {
  if (packet.room === room) {
    showRoom(packet.room, packet.count);
  }
});

$('connect').onclick = client.init;
$('disconnect').onclick = client.quit;
window.addEventListener('online', () => {
  if ($('status').dataset.state === 'waiting') {
    client.init();
  }
});

function showUuid() {
  const uuid = client.uuid();
  $('uuid').textContent = uuid ?? '–';
  $('copyUuid').disabled = uuid === null;
  if (uuid !== null) {
    const secure = location.protocol === 'https:' ? 'wss' : 'ws';
    $('snippet').textContent = [
      `$uuid = '${uuid}';`,
      `$talk = new Phpws\\Client('${secure}://${location.host}/php');`,
      "$talk->feedback('loop 4000', $uuid);",
      '$talk->close();',
    ].join('\n');
  }
}

$('copyUuid').onclick = () => copy($('copyUuid'), $('uuid'));
$('copySnippet').onclick = () => copy($('copySnippet'), $('snippet'));

// Pages on plain http have no clipboard: there the text is selected, ready for the copy key.
async function copy(button, source) {
  let word = 'Copied';
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    getSelection().selectAllChildren(source);
    word = 'Selected';
  }
  button.textContent = word;
  setTimeout(() => { button.textContent = 'Copy'; }, 1_500);
}

// ---- others

function textOf(message) {
  const text = typeof message === 'string' ? message : JSON.stringify(message) ?? '';
  return text.slice(0, LONGEST_TEXT);
}

$('talk').onsubmit = async (event) => {
  event.preventDefault();
  const message = $('say').value.trim();
  if (message === '') {
    return;
  }
  $('say').value = '';
  $('sent').textContent = client.isOpen() ? '' : 'Waits for the connection.';
  try {
    const to = room === null ? 'all others' : `room ${room}`;
    await client.sendAsync({ opcode: 'broadcast', ...(room !== null && { room }), message, fromUUID: client.uuid() });
    $('sent').textContent = `Sent to ${to}: ${message}`;
  } catch (error) {
    $('say').value ||= message;
    $('sent').textContent = `Not sent. ${error.message}`;
  }
};

function heard({ message, fromUUID }) {
  const item = document.createElement('li');
  const from = document.createElement('small');
  const who = typeof fromUUID === 'string' ? fromUUID.slice(0, 8) : 'another client';
  from.textContent = `${who}, ${new Date().toLocaleTimeString()}`;
  item.append(textOf(message), from);
  $('others').prepend(item);
  while ($('others').childElementCount > MOST_HEARD) {
    $('others').lastElementChild.remove();
  }
}

// The server took the message and acknowledged it, but did nothing with it.
function refused({ refused: opcode, error = 'not permitted here' }) {
  const join = opcode === 'join';
  if (join) {
    showRoom(null); // also where it was a member before a reconnect
  }
  $(join ? 'inRoom' : 'sent').textContent = `The server refused ${opcode}: ${error}`;
}

// ---- a room

let room = null;

$('roomForm').onsubmit = (event) => {
  event.preventDefault();
  const wanted = $('room').value.trim();
  if (room !== null) {
    client.leave(room);
  } else if (wanted !== '') {
    client.join(wanted, { announce: true });
  }
};

function showRoom(name, count) {
  room = name;
  $('room').readOnly = name !== null;
  $('join').textContent = name === null ? 'Join' : 'Leave';
  $('inRoom').textContent = name === null ? '' : `${count} in room “${name}”. Only they hear you.`;
}

// ---- echo

let echoes = 0;
let echoSentAt = 0;

$('echo').onclick = () => {
  echoes += 1;
  echoSentAt = performance.now();
  client.echo(`Echo ${echoes}`);
};

function echoed({ message }) {
  const took = performance.now() - echoSentAt;
  $('echoResult').textContent = `“${message}” came back in ${took.toFixed(1)} ms`;
}

// ---- simulated backend

let working = false;

$('backend').onclick = () => {
  working = true;
  $('backend').disabled = true;
  const backend = socketWebClient('', '/php', { reconnect: false });
  const uuid = client.uuid();
  backend.setCallback('ready', () => work(backend, uuid));
  backend.setCallback('close', () => {
    working = false;
    $('backend').disabled = !client.isOpen();
  });
  backend.init();
};

// Plays the PHP script: each report goes out only when the server has answered `next` to the last.
async function work(backend, uuid) {
  const report = async (message, progress) => {
    await backend.sendAsync({ opcode: 'feedback', uuid, message, progress, fromUUID: backend.uuid() });
    await new Promise((resolve) => { setTimeout(resolve, 250); });
  };
  try {
    await report('doing some work', 0);
    for (let i = 1; i < 10; i += 1) {
      await report(`loop ${i * 1000}`, i * 10);
    }
    await report('done', 100);
  } catch (error) {
    $('feedback').textContent = error.message;
  }
  backend.quit();
}

function reported({ message, progress }) {
  $('feedback').textContent = textOf(message);
  if (typeof progress === 'number') {
    $('progress').value = progress;
    $('progress').textContent = `${progress} %`;
  }
}

client.init();
