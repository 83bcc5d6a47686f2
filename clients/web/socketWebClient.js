/*
 * The web client's end of the dialog with phpws: connect, wait for `ready`, send one message per
 * `next`, reconnect when the connection is lost. It must not know what the messages mean.
 * Counterpart of webClient/socketWebClient.js of the PHP original, whose function names it keeps.
 *
 *   idle ──init──▶ connecting ──ready──▶ ready ──quit──▶ leaving ──▶ closed
 *                   ▲      │               │
 *                   │      │  "close" or connection lost
 *                   └── waiting ◀── closing
 *
 * With the option `resume` the server keeps the client from one connection to the next: docs/resume.md.
 *
 * State is changed before any callback runs, so a callback may call anything here, `init` and
 * `quit` included.
 */

const DEFAULTS = {
  resume: false,
  reconnect: true,
  reconnectDelay: 500,
  reconnectDelayMax: 30_000,
  reconnectDelayBusy: 60_000,
  reconnectJitter: 0.5,
  stableAfter: 10_000,
  replyTimeout: 30_000,
  closeTimeout: 2_000,
  queueLimit: 1_000,
  maxSends: 5,
  origin: '',
  random: Math.random,
  // Wrapped: browsers refuse timer functions that are called as methods of another object.
  setTimeout: (run, ms) => globalThis.setTimeout(run, ms),
  clearTimeout: (timer) => globalThis.clearTimeout(timer),
};

const SECURE = { ws: false, tcp: false, http: false, wss: true, ssl: true, tls: true, https: true };

// RFC 6455, 7.4.1: these close codes blame the message, so sending it again would only lose the
// next connection as well: 1003 wrong data type, 1007 bad content, 1009 too big.
const MESSAGE_IS_TO_BLAME = [1003, 1007, 1009];

// Resuming: the server says that another connection has the client now; we say that we leave a
// connection to come back on another one, which 1000 or no code would make impossible.
const TAKEN_OVER = 4000;
const COMING_BACK = 4001;
const LONGEST_PLACE = 64;

/**
 * Makes a client for one resource of one server; `init()` connects it.
 * Also takes the four arguments of 2021: `socketWebClient(server, port, app, options)`.
 */
export function socketWebClient(server, ...rest) {
  if (/^\d+$/.test(rest[0])) {
    server = `${server ?? ''}:${rest.shift()}`;
  }
  const [app = '/web', given = {}] = rest;
  const options = { ...DEFAULTS, ...given };
  const page = options.location ?? globalThis.location;
  const url = address(server ?? '', app, page);
  // The server wants an Origin header. Browsers write it, elsewhere it is for us to give.
  const headers = page ? [] : [{ headers: { Origin: options.origin } }];
  const window = options.window ?? globalThis;

  const queue = []; // queue[0] is the message on its way, if inFlight
  let inFlight = false;
  let state = 'idle';
  let socket = null;
  let ownUuid = null;
  let session = null; // what a server that resumes knows this client by: { uuid, seq, at, cseq }
  let met = false; // whether there was a ready before, so that the next one is a return
  let attempts = 0;
  let busy = false;
  const rooms = new Map(); // the rooms this client is in, each with the packet that joins it
  const questions = []; // those that `next` acknowledged and nobody has answered yet
  let deadline; // of the one thing waited for: ready, next, the end, or the next try
  let stable;

  const callbacks = {
    status() {},
    ready() {},
    readmessage() {},
    resume() {},
    presence(packet) { callbacks.readmessage(packet); },
    close() {},
  };

  function setCallback(type, callback) {
    const name = String(type).toLowerCase();
    if (Object.hasOwn(callbacks, name) && typeof callback === 'function') {
      callbacks[name] = callback;
    } else {
      complain(`No callback "${type}" set: it takes status, ready, resume, readMessage, presence or close, and a function`);
    }
  }

  // ---- connection

  function init() {
    attempts = 0;
    if (options.resume) {
      window.addEventListener?.('pagehide', pageGoes);
    }
    if (options.resume === 'reload' && session === null) {
      recall();
    }
    connect();
  }

  function connect() {
    letGo();
    state = 'connecting';
    try {
      const WebSocket = options.WebSocket ?? globalThis.WebSocket;
      socket = new WebSocket(requestUrl(), ...headers);
    } catch (error) {
      finish(`Cannot open ${url}: ${error.message}`);
      return;
    }
    socket.onmessage = (event) => receive(event.data);
    socket.onclose = lost;
    // A close event follows and says more; some versions of Node leave it out.
    socket.onerror = () => expectWithin(options.closeTimeout);
    expectWithin(options.replyTimeout);
    status(`Connecting to ${url}`);
  }

  // What is in the queue still goes out, then `quit`, if there is a connection to say it on.
  function quit(entry = { packet: '{"opcode":"quit"}', sends: 0 }) {
    if (state === 'leaving' || state === 'closed') {
      return;
    }
    state = 'leaving';
    queue.push(entry);
    if (socket === null) {
      session = null;
      letGo();
      finish('Disconnected');
    } else if (ownUuid === null && queue.length === 1) { // nothing worth waiting for
      lost({ code: 1000, reason: '', wasClean: true });
    } else {
      expectWithin(options.closeTimeout);
      flush();
      status('Disconnecting');
    }
  }

  // Leaves the socket behind: what it still has to say is of no interest any more.
  function letGo(...code) {
    options.clearTimeout(deadline);
    options.clearTimeout(stable);
    if (session === null) { // else the answer may come with the next connection
      unanswered('The connection was lost');
    }
    if (socket !== null) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.onerror = () => {}; // not null: the ws package throws errors that nobody takes
      socket.close(...(session === null ? code : [COMING_BACK]));
    }
    socket = null;
    ownUuid = null;
    inFlight = false;
  }

  function lost({ code, reason, wasClean }) {
    const hopeless = inFlight && isHopeless(queue[0], code) ? queue.shift() : null;
    const what = ownUuid === null ? 'No connection' : 'Connection lost';
    const takenOver = session !== null && code === TAKEN_OVER;
    const final = state === 'leaving' || !options.reconnect || takenOver;
    if (final || code === 1000) {
      session = null; // the server has forgotten this client, or shall
    }
    letGo();
    hopeless?.reject?.(new Error(`The server closed with ${code} instead of taking the message`));
    if (final) {
      const why = takenOver ? 'Resumed on another connection' : what;
      finish(state === 'leaving' ? 'Disconnected' : why);
      callbacks.close({ code, reason, wasClean, reconnect: false });
      return;
    }
    const delay = nextDelay();
    attempts += 1;
    state = 'waiting';
    deadline = options.setTimeout(connect, delay);
    status(`${what}, reconnecting in ${Math.ceil(delay / 1000)} s`, { delay, attempt: attempts });
    callbacks.close({ code, reason, wasClean, reconnect: true, delay });
    if (hopeless !== null) {
      complain(`Gave up a message after ${hopeless.sends} tries; the server closed with ${code}`);
    }
  }

  function finish(why) {
    state = 'closed';
    session = null;
    met = false;
    rooms.clear();
    window.removeEventListener?.('pagehide', pageGoes);
    for (const entry of queue.splice(0)) {
      entry.reject?.(new Error(`${why}; the message was not acknowledged`));
    }
    status(why);
  }

  // Exponential backoff; the random share keeps clients of a restarted server from coming as one.
  function nextDelay() {
    const delay = Math.min(options.reconnectDelay * 2 ** attempts, options.reconnectDelayMax);
    const base = busy ? Math.max(delay, options.reconnectDelayBusy) : delay;
    busy = false;
    return base * (1 - options.reconnectJitter * options.random());
  }

  // A long message on a slow line is no silence: as long as it moves, there is more time.
  function expectWithin(ms, unsentBefore = Infinity) {
    options.clearTimeout(deadline);
    deadline = options.setTimeout(() => {
      const unsent = socket.bufferedAmount;
      if (unsent > 0 && unsent < unsentBefore) {
        expectWithin(ms, unsent);
      } else {
        lost({ code: 1006, reason: 'The server does not answer', wasClean: false });
      }
    }, ms);
  }

  // ---- resuming

  function requestUrl() {
    if (!options.resume) {
      return url;
    }
    const { uuid = '', seq, at } = session ?? {};
    const where = session === null ? '' : `&seq=${seq}`;
    const global = at === undefined ? '' : `&at=${encodeURIComponent(at)}`;
    return `${url}${url.includes('?') ? '&' : '?'}resume=${encodeURIComponent(uuid)}${where}${global}`;
  }

  // Whether `ready` says that this is still the client that it was. Else it begins anew, if the
  // server resumes at all.
  function isStill({ uuid, resume, seq, at }) {
    const number = Number.isSafeInteger(seq) ? seq : 0;
    if (session !== null && uuid === session.uuid && (resume === 'resumed' || resume === 'gap')) {
      session.seq = Math.max(session.seq, number);
      session.at = place(at) ?? session.at;
      return true;
    }
    session = options.resume && resume !== undefined ? { uuid, seq: number, at: place(at), cseq: 0 } : null;
    return false;
  }

  // Whether the page does not have this message yet. What has no number comes once only.
  function isNew({ opcode, seq, at }) {
    if (session === null || opcode === 'ready' || opcode === 'next' || !Number.isSafeInteger(seq)) {
      return true;
    }
    if (seq <= session.seq) {
      return false;
    }
    session.seq = seq;
    session.at = place(at) ?? session.at;
    return true;
  }

  // A message that is sent once more may have been answered before: that answer comes with what was
  // missed, ahead of the `next`.
  function sentBefore() {
    return session !== null && queue[0]?.sends > 1 ? queue[0] : undefined;
  }

  // A page that stays in the browser's cache may come back. One that goes for good says so, unless it
  // may be a reload, which cannot be told apart.
  function pageGoes({ persisted }) {
    if (persisted) {
      return;
    }
    if (options.resume === 'reload') {
      remember();
      return;
    }
    session = null;
    letGo(1000);
    finish('Disconnected');
  }

  function remember() {
    if (session === null || state === 'leaving') {
      return;
    }
    try {
      window.sessionStorage.setItem(storageKey(), JSON.stringify({ ...session, rooms: [...rooms] }));
    } catch {
      // No storage for this page: after a reload it is a new client.
    }
  }

  // Takes out what the page stored as it went. As long as a page lives nothing is stored, so that a
  // duplicate of its tab, which gets a copy of the storage, is a client of its own.
  function recall() {
    try {
      const { rooms: joined, ...former } = JSON.parse(window.sessionStorage.getItem(storageKey()));
      window.sessionStorage.removeItem(storageKey());
      joined.forEach(([room, packet]) => rooms.set(room, packet));
      session = former;
    } catch {
      // No storage, or nothing in it.
    }
  }

  function storageKey() {
    return `phpws resume ${url}`;
  }

  // ---- what the server says

  function receive(data) {
    const packet = parse(data);
    if (packet === null) {
      return complain(`Not a packet of the server: ${String(data).slice(0, 80)}`);
    }
    if (!isNew(packet)) {
      return undefined;
    }
    switch (packet.opcode) {
      case 'ready': return welcomed(packet);
      case 'next': return acknowledged(packet);
      case 'close': return dismissed(packet);
      case 'presence': return callbacks.presence(packet);
      case 'who': return answered(packet);
      case 'refused': return refused(packet);
      case 'text': return callbacks.readmessage(session === null ? packet : unwrapped(packet));
      default: return callbacks.readmessage(packet);
    }
  }

  function welcomed(packet) {
    options.clearTimeout(deadline);
    const returns = met || session !== null;
    const first = !met;
    const still = isStill(packet);
    met = true;
    ownUuid = packet.uuid;
    if (!still) {
      unanswered('The connection was lost');
      rejoin();
    }
    if (state === 'leaving') {
      return flush();
    }
    state = 'ready';
    stable = options.setTimeout(() => { attempts = 0; }, options.stableAfter);
    flush();
    status('Connected');
    if (options.resume && returns) {
      callbacks.resume(still ? { outcome: packet.resume, lost: packet.lost } : { outcome: 'lost' });
    }
    if (first || !still) {
      callbacks.ready(packet);
    }
    return undefined;
  }

  function acknowledged(packet) {
    if (!inFlight) {
      return;
    }
    inFlight = false;
    taken(queue.shift(), packet.fyi);
    if (state === 'ready') {
      options.clearTimeout(deadline);
    }
    flush();
  }

  function taken(entry, fyi) {
    if (entry.joins !== undefined) {
      entry.joins ? rooms.set(entry.room, entry.packet) : rooms.delete(entry.room);
    }
    if (entry.asks && entry.answer !== undefined) {
      entry.answer();
    } else if (entry.asks) {
      // Where other processes of the server are asked too, the answer may come after further messages.
      questions.push(entry);
      entry.patience = options.setTimeout(() => refuse(entry, 'The server does not answer'), options.replyTimeout);
    } else {
      entry.resolve?.(fyi);
    }
  }

  // A new client is in no room. What waits in the queue may be for the members of one, so joining
  // comes first; what an earlier connection did not get done of it is replaced. All get new numbers.
  function rejoin() {
    const joins = [...rooms].map(([room, packet]) => ({ packet, sends: 0, room, joins: true, again: true }));
    queue.splice(0, Infinity, ...joins, ...queue.filter((entry) => !entry.again));
    queue.forEach((entry) => { entry.cseq = undefined; });
  }

  function answered(packet) {
    const early = sentBefore();
    const question = questions.find(({ asks }) => asks === packet.room);
    if (question !== undefined) {
      forget(question);
      return question.resolve(packet);
    }
    if (early?.asks) {
      early.answer = () => early.resolve(packet);
      return undefined;
    }
    return callbacks.readmessage(packet);
  }

  function refused(packet) {
    const early = sentBefore();
    // It repeats the beginning of a long name, and may say none.
    const question = questions.find(({ asks }) => asks.startsWith(packet.room ?? ''));
    if (packet.refused === 'who' && (question !== undefined || early?.asks)) {
      const why = packet.error ?? 'The server does not permit who';
      if (question !== undefined) {
        return refuse(question, why);
      }
      early.answer = () => early.reject(new Error(why));
      return undefined;
    }
    if (packet.refused === 'join') {
      rooms.delete(packet.room);
      if (early?.joins && early.room === packet.room) {
        early.joins = undefined;
      }
    }
    return callbacks.readmessage(packet);
  }

  function unanswered(why) {
    [...questions].forEach((question) => refuse(question, why));
  }

  function refuse(question, why) {
    forget(question);
    question.reject(new Error(why));
  }

  function forget(question) {
    options.clearTimeout(question.patience);
    questions.splice(questions.indexOf(question), 1);
  }

  // The server ends the connection itself; the deadline is for one that does not.
  function dismissed(packet) {
    busy = /too? many connections/i.test(packet.error);
    if (state !== 'leaving') {
      state = 'closing';
    }
    expectWithin(options.closeTimeout);
    status('Closed by the server', { error: packet.error });
  }

  // ---- what the page says

  // Sends the first message of the queue, if the server waits for one. It stays there until `next`.
  function flush() {
    const mayTalk = ownUuid !== null && (state === 'ready' || state === 'leaving');
    const entry = queue[0];
    if (inFlight || !mayTalk || entry === undefined) {
      return;
    }
    entry.sends += 1;
    inFlight = true;
    expectWithin(state === 'leaving' ? options.closeTimeout : options.replyTimeout);
    if (session !== null && entry.packet.startsWith('{')) { // what is no object can bear no number
      entry.cseq ??= session.cseq += 1;
    }
    socket.send(written(entry));
  }

  // Signed and numbered as late as possible: a message that waited for a connection carries that one's
  // uuid, and one that joins a room ahead of it the lower number.
  function written({ packet, signed, cseq }) {
    const more = { ...(signed && { fromUUID: ownUuid, from: ownUuid }), ...(cseq && { cseq }) };
    return Object.keys(more).length === 0 ? packet : JSON.stringify({ ...JSON.parse(packet), ...more });
  }

  function isHopeless(entry, code) {
    const worn = options.maxSends > 0 && entry.sends >= options.maxSends;
    return worn || MESSAGE_IS_TO_BLAME.includes(code);
  }

  // Takes the message in, or returns why not. A full queue refuses the newest message: what is
  // already promised keeps its place.
  function enqueue(message, more) {
    const packet = JSON.stringify(message);
    if (packet === undefined) {
      throw new TypeError('A message must be something that JSON can express');
    }
    if (state === 'leaving' || state === 'closed') {
      return 'Not connected, and not going to be: call init() first';
    }
    if (options.queueLimit > 0 && queue.length >= options.queueLimit) {
      return `The queue is full (${options.queueLimit} messages)`;
    }
    const entry = { packet, sends: 0, ...more };
    if (message?.opcode === 'quit') {
      quit(entry); // also when it is sent as a message it must not end in a reconnect
    } else {
      queue.push(entry);
      flush();
    }
    return null;
  }

  function sendMsg(message, more) {
    const refusal = enqueue(message, more);
    if (refusal !== null) {
      complain(refusal);
    }
    return refusal === null;
  }

  function sendAsync(message, more) {
    return new Promise((resolve, reject) => {
      const refusal = enqueue(message, { resolve, reject, ...more });
      if (refusal !== null) {
        reject(new Error(refusal));
      }
    });
  }

  function join(room, { name, announce } = {}) {
    const packet = { opcode: 'join', room: named(room), name, announce };
    return sendMsg(packet, { room: packet.room, joins: true });
  }

  function leave(room) {
    const packet = { opcode: 'leave', room: named(room) };
    return sendMsg(packet, { room: packet.room, joins: false });
  }

  // Of one room only where the page says so; a room without a name is never everybody.
  function broadcast(message, more) {
    const inRoom = typeof more === 'object' && more !== null && 'room' in more;
    return sendMsg({ opcode: 'broadcast', ...(inRoom && { room: named(more.room) }), message });
  }

  // ---- what the page is told

  function status(text, detail) {
    callbacks.status(text, { state, ...detail });
  }

  function complain(text) {
    console.warn(`socketWebClient: ${text}`);
    status(text, { error: text });
  }

  return {
    init,
    sendMsg: (message) => sendMsg(message),
    sendAsync: (message) => sendAsync(message),
    uuid: () => ownUuid ?? session?.uuid ?? null,
    quit: () => quit(),
    isOpen: () => state === 'ready',
    setCallback,
    setCallbackStatus: (callback) => setCallback('status', callback),
    setCallbackReady: (callback) => setCallback('ready', callback),
    setCallbackResume: (callback) => setCallback('resume', callback),
    setCallbackReadMessage: (callback) => setCallback('readMessage', callback),
    setCallbackPresence: (callback) => setCallback('presence', callback),
    setCallbackClose: (callback) => setCallback('close', callback),
    callbacks,
    broadcast,
    join,
    leave,
    who: async (room) => sendAsync({ opcode: 'who', room: named(room) }, { asks: String(room) }),
    feedback: (message, toUUID) => sendMsg({ opcode: 'feedback', message, uuid: toUUID }, { signed: true }),
    echo: (message) => sendMsg({ opcode: 'echo', message }),
  };
}

function parse(data) {
  try {
    const packet = JSON.parse(data);
    return typeof packet === 'object' ? packet : null;
  } catch {
    return null;
  }
}

/** `at` as far as it can stand in a URL; a message of a page may have something else of that name. */
function place(at) {
  return ['string', 'number'].includes(typeof at) && String(at).length <= LONGEST_PLACE ? at : undefined;
}

/** What an application sent that is no packet, as it would have come without a number. */
function unwrapped(packet) {
  return typeof packet.text === 'string' ? parse(packet.text) ?? packet.text : packet;
}

/** The name of a room as the server takes it. */
function named(room) {
  if (room === '' || !['string', 'number'].includes(typeof room)) {
    throw new TypeError('A room must have a name');
  }
  return String(room);
}

/** The URL behind PHP's ways to write an address; what is left out is taken from the page. */
function address(server, app, page) {
  const [scheme, host] = server.includes('://') ? server.split('://', 2) : ['', server];
  if (scheme !== '' && !Object.hasOwn(SECURE, scheme.toLowerCase())) {
    throw new TypeError(`socketWebClient: unknown scheme ${scheme}://, use ws:// or wss://`);
  }
  // Browsers refuse ws:// on an https page, whatever was asked for.
  const secure = page?.protocol === 'https:' || SECURE[scheme.toLowerCase()];
  let authority = host.replace(/\/+$/, '');
  if (authority === '' || authority.startsWith(':')) {
    authority = authority === '' ? page?.host : page?.hostname + authority;
    if (!page?.host) {
      throw new TypeError('socketWebClient: no page to take the server address from, give one');
    }
  }
  return `${secure ? 'wss' : 'ws'}://${authority}${app.startsWith('/') ? '' : '/'}${app}`;
}

export default socketWebClient;
