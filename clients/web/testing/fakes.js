/*
 * A world without network and time for the tests: a WebSocket whose other end the test plays, and
 * a clock that the test moves.
 */
import { socketWebClient } from '../socketWebClient.js';

/** A clock that stands still until it is told to advance. */
export class FakeClock {
  now = 0;
  #timers = new Map();
  #ids = 0;

  setTimeout = (run, ms) => {
    this.#ids += 1;
    this.#timers.set(this.#ids, { run, at: this.now + ms });
    return this.#ids;
  };

  clearTimeout = (id) => this.#timers.delete(id);

  advance(ms) {
    const end = this.now + ms;
    for (;;) {
      const [id, next] = [...this.#timers].sort((a, b) => a[1].at - b[1].at)[0] ?? [];
      if (next === undefined || next.at > end) {
        break;
      }
      this.now = next.at;
      this.#timers.delete(id);
      next.run();
    }
    this.now = end;
  }

  get pending() {
    return this.#timers.size;
  }
}

/** One connection, seen from the server: what came in is in `sent`. */
export class FakeSocket {
  onmessage = null;
  onclose = null;
  onerror = null;
  bufferedAmount = 0;
  sent = [];
  closed = false;

  constructor(url, options) {
    this.url = url;
    this.options = options;
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(...code) {
    this.closed = true;
    this.closeCode ??= code;
  }

  say(packet) {
    this.onmessage?.({ data: typeof packet === 'string' ? packet : JSON.stringify(packet) });
  }

  ready(uuid = 'uuid-1') {
    this.say({ opcode: 'ready', uuid });
  }

  next(fyi = '') {
    this.say({ opcode: 'next', fyi });
  }

  drop(code = 1006, reason = '') {
    this.closed = true;
    this.onclose?.({ code, reason, wasClean: code !== 1006 });
  }
}

/**
 * A client in such a world. `events` holds what its callbacks were told, `sockets` its connections;
 * `random` is 0, so that delays are exact, unless the options say otherwise.
 */
export function world(options = {}, server = 'ws://host:8095', app = '/web') {
  const sockets = [];
  const clock = new FakeClock();
  class Socket extends FakeSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const client = socketWebClient(server, app, {
    WebSocket: Socket,
    setTimeout: clock.setTimeout,
    clearTimeout: clock.clearTimeout,
    random: () => 0,
    ...options,
  });
  const events = [];
  for (const type of ['status', 'ready', 'resume', 'readMessage', 'close']) {
    client.setCallback(type, (...args) => events.push([type, ...args]));
  }
  return {
    client,
    clock,
    events,
    sockets,
    socket: () => sockets.at(-1),
    told: (type) => events.filter(([name]) => name === type).map(([, ...args]) => args),
    /** Connects and is welcomed. */
    open(uuid) {
      client.init();
      sockets.at(-1).ready(uuid);
      return sockets.at(-1);
    },
  };
}

/** What resuming needs of a page's window: its storage, and a way to leave. */
export class FakeWindow {
  #listeners = new Map();
  #stored = new Map();

  /** A duplicate of the tab starts with a copy of what is stored. */
  constructor(stored = []) {
    this.#stored = new Map(stored);
  }

  get stored() {
    return [...this.#stored];
  }

  sessionStorage = {
    getItem: (key) => this.#stored.get(key) ?? null,
    setItem: (key, value) => this.#stored.set(key, String(value)),
    removeItem: (key) => this.#stored.delete(key),
  };

  addEventListener = (type, listener) => this.#listeners.set(type, listener);

  removeEventListener = (type) => this.#listeners.delete(type);

  leave(persisted = false) {
    this.#listeners.get('pagehide')?.({ persisted });
  }
}

export const text = (message) => ({ opcode: 'echo', message });

/** Whether a promise is settled by now, and how. */
export function outcome(promise) {
  const still = new Promise((resolve) => { setImmediate(resolve, 'pending'); });
  return Promise.race([promise.then((value) => ['resolved', value], (error) => ['rejected', error.message]), still]);
}

/** Silences and collects console.warn for one test. */
export function warnings(t) {
  const warned = [];
  t.mock.method(console, 'warn', (line) => warned.push(line));
  return warned;
}
