/*
 * A server that resumes, as docs/resume.md has it, at the other end of a line that the test moves frame by
 * frame and cuts where it likes.
 */
import { FakeSocket, world } from './fakes.js';

export class ResumingServer {
  /** What was acted on, over all clients: the packets without their `cseq`. */
  acted = [];
  #clients = new Map();
  #sockets = new Map(); // each with its client and the frames under way in both directions
  #count = 0;

  constructor({ keep = Infinity, at = false } = {}) {
    this.keep = keep; // messages of each client
    this.at = at;
  }

  /** The socket has been made: its `ready`, and what the client missed, are under way. */
  open(socket) {
    const query = new URL(socket.url).searchParams;
    const uuid = query.get('resume');
    const former = uuid === '' ? undefined : this.#clients.get(uuid);
    const client = former ?? { uuid: `uuid-${this.#count += 1}`, seq: 0, kept: [], cseq: 0, rooms: new Set() };
    this.#sockets.set(socket, { client, down: [], up: [] });
    if (former === undefined) {
      this.#clients.set(client.uuid, client);
      this.#ready(socket, { resume: uuid === '' ? 'new' : 'lost', seq: 0, keep: 60 });
      client.socket = socket;
      return;
    }
    if (client.socket !== undefined) {
      this.#end(client.socket, 4000, 'Resumed on another connection');
    }
    const seq = Number(query.get('seq'));
    const missed = client.kept.filter((message) => message.seq > seq);
    const first = missed[0]?.seq ?? client.seq + 1;
    const gap = first > seq + 1;
    this.#ready(socket, { resume: gap ? 'gap' : 'resumed', seq: first - 1, keep: 60, ...(gap && { lost: first - 1 - seq }) });
    missed.forEach(({ text }) => this.#write(socket, text));
    client.socket = socket;
  }

  /** To a client, connected or not. */
  push(uuid, packet) {
    const client = this.#clients.get(uuid);
    client.seq += 1;
    const text = JSON.stringify({ ...packet, ...(this.at && { at: `${client.seq}-0` }), seq: client.seq });
    client.kept = [...client.kept, { seq: client.seq, text }].slice(-this.keep);
    if (client.socket !== undefined) {
      this.#write(client.socket, text);
    }
  }

  forget() {
    this.#clients.clear();
  }

  rooms(uuid) {
    return [...this.#clients.get(uuid).rooms];
  }

  take(socket, packet) {
    this.#sockets.get(socket)?.up.push(packet);
  }

  /** Moves one frame; false if there is none. Clients come before the server. */
  step() {
    for (const [socket, { client, up, down }] of this.#sockets) {
      if (up.length > 0) {
        this.#act(client, socket, up.shift());
        return true;
      }
      if (down.length > 0) {
        down.shift()();
        return true;
      }
    }
    return false;
  }

  settle() {
    while (this.step()) {
      continue;
    }
  }

  /** What is under way is lost, and both ends learn of it. */
  cut(code = 1006) {
    for (const [socket, { client }] of [...this.#sockets]) {
      client.socket = undefined;
      this.#sockets.delete(socket);
      socket.drop(code);
    }
  }

  #act(client, socket, { cseq, ...packet }) {
    this.#write(socket, '{"opcode":"next","fyi":""}');
    if (cseq !== undefined && cseq <= client.cseq) {
      return;
    }
    client.cseq = cseq ?? client.cseq;
    this.acted.push(packet);
    const { opcode, room } = packet;
    if (opcode === 'echo') {
      this.push(client.uuid, packet);
    } else if (opcode === 'join' && room === 'closed') {
      this.push(client.uuid, { opcode: 'refused', refused: 'join', room, error: 'Too many rooms' });
    } else if (opcode === 'join') {
      client.rooms.add(room);
      this.push(client.uuid, { opcode: 'joined', room, count: 1 });
    } else if (opcode === 'who') {
      const answer = client.rooms.has(room) ? { opcode: 'who', room, count: 1 } : { opcode: 'refused', refused: 'who', room, error: 'Not a member' };
      this.push(client.uuid, answer);
    }
  }

  #ready(socket, more) {
    this.#write(socket, JSON.stringify({ opcode: 'ready', uuid: this.#sockets.get(socket).client.uuid, ...more }));
  }

  #write(socket, text) {
    this.#sockets.get(socket).down.push(() => socket.say(text));
  }

  #end(socket, code, reason) {
    this.#sockets.delete(socket);
    socket.drop(code, reason);
  }
}

/** A client, and such a server at its other end. */
export function resumingWorld(options = {}, server = new ResumingServer()) {
  class Socket extends FakeSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
      server.open(this);
    }

    send(text) {
      super.send(text);
      server.take(this, JSON.parse(text));
    }
  }
  const sockets = [];
  const here = world({ WebSocket: Socket, resume: true, maxSends: 0, ...options });
  return {
    ...here,
    server,
    sockets,
    socket: () => sockets.at(-1),
    open() {
      here.client.init();
      server.settle();
    },
    /** Loses the connection and gets the next one. */
    loseAndReturn() {
      server.cut();
      here.clock.advance(here.told('close').at(-1)[0].delay);
      server.settle();
    },
  };
}
