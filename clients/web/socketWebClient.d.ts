/** What goes through the dialog: a JSON object with an `opcode`, and whatever else the page needs. */
export interface Packet {
  opcode: string;
  message?: unknown;
  uuid?: string;
  fromUUID?: string;
  [key: string]: unknown;
}

export interface ReadyPacket extends Packet {
  opcode: 'ready';
  uuid: string;
  /** Of a server that resumes. */
  resume?: 'new' | 'resumed' | 'gap' | 'lost';
  /** Seconds that it keeps a client whose connection broke. */
  keep?: number;
}

/** How coming back after a loss went, with the option `resume`. */
export interface ResumeDetail {
  /**
   * `resumed`: nothing is missing. `gap`: messages are missing, what comes now is newer than those. `lost`: this is a
   * new client, with a new uuid; `ready` is called too.
   */
  outcome: 'resumed' | 'gap' | 'lost';
  /** How many messages are missing, where a `gap` tells. */
  lost?: number;
}

/** Members came or went, in a room whose first member asked for that. */
export interface PresencePacket extends Packet {
  opcode: 'presence';
  room: string;
  /** Members now. */
  count: number;
  /** How many came. */
  joined?: number;
  /** How many went. */
  left?: number;
  /** Names of some of them, where the server tells names. */
  joinedNames?: string[];
  leftNames?: string[];
}

/** The answer to `who`. */
export interface WhoPacket extends Packet {
  opcode: 'who';
  room: string;
  count: number;
  /** Up to 100, where the server tells names. */
  names?: string[];
}

export interface JoinOptions {
  /** Told to the other members where the server tells names; at most 64 bytes. */
  name?: string;
  /** Whether members are told of joins and leaves; counts for who joins first. */
  announce?: boolean;
}

/** A room's name: 1 to 128 bytes; a number stands for its text. */
export type Room = string | number;

export type State = 'idle' | 'connecting' | 'ready' | 'closing' | 'waiting' | 'leaving' | 'closed';

export interface StatusDetail {
  state: State;
  /** Milliseconds until the next try; with state `waiting`. */
  delay?: number;
  /** Number of that try; with state `waiting`. */
  attempt?: number;
  /** What went wrong, or why the server closes. */
  error?: string;
}

export interface CloseDetail {
  code: number;
  reason: string;
  wasClean: boolean;
  /** Whether the client tries again by itself. */
  reconnect: boolean;
  /** Milliseconds until then. */
  delay?: number;
}

export interface Callbacks {
  status(text: string, detail: StatusDetail): void;
  /** With the option `resume` not where the client came back as the one it was. */
  ready(packet: ReadyPacket): void;
  /** With the option `resume` it gets text of an application's own that is no packet too, as a string. */
  readmessage(packet: Packet): void;
  /** Only with the option `resume`. */
  resume(detail: ResumeDetail): void;
  /** Gives the packet to `readmessage` unless it is set. */
  presence(packet: PresencePacket): void;
  close(detail: CloseDetail): void;
}

export interface WebSocketLike {
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: string): void;
  close(code?: number): void;
}

export interface Options {
  /**
   * Come back after a loss as the client that it was, and get what was sent meanwhile. With `'reload'` also
   * after a reload of the page. Default false.
   */
  resume?: boolean | 'reload';
  /** Reconnect when the connection is lost, but not after `quit()`. Default true. */
  reconnect?: boolean;
  /** Milliseconds before the first try; doubled for each further one. Default 500. */
  reconnectDelay?: number;
  /** No wait is longer, in milliseconds. Default 30000. */
  reconnectDelayMax?: number;
  /** The least wait after the server said that there are too many connections. Default 60000. */
  reconnectDelayBusy?: number;
  /** The share of each wait that is random, 0 to 1. Default 0.5. */
  reconnectJitter?: number;
  /** A connection that was ready for so long starts the waits from the beginning. Default 10000. */
  stableAfter?: number;
  /** Milliseconds to wait for `ready` or `next` before the connection counts as lost. Default 30000. */
  replyTimeout?: number;
  /** Milliseconds to wait for the end after `quit()` or the server's `close`. Default 2000. */
  closeTimeout?: number;
  /** Messages that may wait; one more is refused. 0 = unlimited. Default 1000. */
  queueLimit?: number;
  /** A message without `next` after so many tries is given up. 0 = never. Default 5. */
  maxSends?: number;
  /** The Origin header outside of a browser. Default empty. */
  origin?: string;
  /** Another WebSocket class, like that of the package `ws`. */
  WebSocket?: new (url: string, headers?: any) => WebSocketLike;
  /** Stands for the page's address. */
  location?: { protocol: string; host: string; hostname: string };
  /** Stands for the page's window; the option `resume` hears from it that the page goes. */
  window?: {
    addEventListener?(type: string, listener: (event: any) => void): void;
    removeEventListener?(type: string, listener: (event: any) => void): void;
    sessionStorage?: { getItem(key: string): string | null; setItem(key: string, value: string): void; removeItem(key: string): void };
  };
  random?: () => number;
  setTimeout?: (run: () => void, ms: number) => any;
  clearTimeout?: (timer: any) => void;
}

export interface SocketWebClient {
  /** Connects; an open connection is replaced. Takes and ignores an event, to serve as handler. */
  init(event?: unknown): void;
  /** Queues a message until `next`. False if it is refused: the queue is full, or after `quit()`. */
  sendMsg(message: unknown): boolean;
  /** Like `sendMsg`; resolves with the `fyi` of the `next` that acknowledges the message. */
  sendAsync(message: unknown): Promise<string>;
  /** The uuid of this connection, null without one; with the option `resume` also while it comes back. */
  uuid(): string | null;
  /** Sends what is queued, says `quit`, and stays disconnected until `init()`. */
  quit(event?: unknown): void;
  isOpen(): boolean;
  /** The type is taken in any case; these spellings are the usual ones. */
  setCallback(type: 'status' | 'Status', callback: Callbacks['status']): void;
  setCallback(type: 'ready' | 'Ready', callback: Callbacks['ready']): void;
  setCallback(type: 'resume' | 'Resume', callback: Callbacks['resume']): void;
  setCallback(type: 'readmessage' | 'readMessage' | 'ReadMessage', callback: Callbacks['readmessage']): void;
  setCallback(type: 'presence' | 'Presence', callback: Callbacks['presence']): void;
  setCallback(type: 'close' | 'Close', callback: Callbacks['close']): void;
  setCallbackStatus(callback: Callbacks['status']): void;
  setCallbackReady(callback: Callbacks['ready']): void;
  setCallbackResume(callback: Callbacks['resume']): void;
  setCallbackReadMessage(callback: Callbacks['readmessage']): void;
  setCallbackPresence(callback: Callbacks['presence']): void;
  setCallbackClose(callback: Callbacks['close']): void;
  callbacks: Callbacks;
  /** To all, or with `room` to the members of that room. Throws where `room` is there but empty. */
  broadcast(message: unknown, to?: { room: Room }): boolean;
  /** Joins a room, and again after each reconnect as a new client; the server answers with `joined` or `refused`. */
  join(room: Room, options?: JoinOptions): boolean;
  /** Leaves a room; the server answers with `left` or `refused`. */
  leave(room: Room): boolean;
  /** How many are in a room that this client is in. Rejects where the server refuses or does not answer. */
  who(room: Room): Promise<WhoPacket>;
  feedback(message: unknown, toUUID: string): boolean;
  echo(message: unknown): boolean;
}

/**
 * @param server `ws://host:port`, `wss://…`, PHP's `tcp://…` and `ssl://…`, `host:port`, `:port`,
 *   or nothing for the page's own host; on an https page always wss.
 * @param app the resource, default `/web`.
 */
export function socketWebClient(server?: string, app?: string, options?: Options): SocketWebClient;
/** The order of arguments of 2021. */
export function socketWebClient(server: string | undefined, port: number | `${number}`, app?: string, options?: Options): SocketWebClient;

export default socketWebClient;
