/*
 * What the three pages share: finding the WebSocket server, showing whether they are connected,
 * asking a backend.
 */
import { socketWebClient } from '../socketWebClient.js';

export const $ = (id) => document.getElementById(id);

const WORDS = {
  connecting: 'Connecting…',
  ready: 'Connected',
  closing: 'Closed by the server',
  waiting: 'Reconnecting…',
  leaving: 'Disconnecting…',
  closed: 'Disconnected',
};

/** Connects to a resource; `hear` has a function for each opcode, and `ready` and `lost`. */
export async function connect(resource, hear) {
  const { address } = await ask('settings.php');
  const client = socketWebClient(address, resource, { reconnectDelayMax: 5_000 });
  client.setCallback('status', (text, { state }) => {
    $('status').dataset.state = state;
    $('status').textContent = WORDS[state];
  });
  client.setCallback('ready', () => hear.ready?.());
  client.setCallback('close', () => hear.lost?.());
  client.setCallback('readMessage', (packet) => {
    if (Object.hasOwn(hear, packet.opcode)) {
      hear[packet.opcode](packet);
    }
  });
  client.init();
  return client;
}

/** Asks a backend: a GET, or a POST of what is given. Its own error becomes an Error. */
export async function ask(path, body) {
  const request = body === undefined ? {} : {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  };
  const response = await fetch(`../backend/${path}`, request);
  const answer = await response.json().catch(() => ({ error: `The backend failed (${response.status}).` }));
  if (!response.ok) {
    throw new Error(answer.error);
  }
  return answer;
}

/** Tells the user what happened. */
export function tell(text, tone = '') {
  $('news').dataset.tone = tone;
  $('news').textContent = text;
}

/** An element with a text, or with children. */
export function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}
