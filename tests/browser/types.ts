// Compiled, never run: a page in TypeScript that uses all there is, and the errors it must get.
import client, { socketWebClient, type Packet, type State } from 'phpws-web-client';
import { progressDialog, type ProgressDialog } from 'phpws-web-client/progressDialog';

const sock = socketWebClient('ws://127.0.0.1:8095', '/web', { reconnect: false, queueLimit: 0 });
socketWebClient();
socketWebClient('');
socketWebClient('ssl://host', 8096, '/web', { maxSends: 0 });
socketWebClient(undefined, '8096');
socketWebClient('', '/web', { resume: true, window });
socketWebClient('', '/web', { resume: 'reload' });
client('', '/php', { WebSocket, location, random: () => 0, setTimeout: window.setTimeout });

sock.setCallback('ready', (packet) => packet.uuid.length);
sock.setCallback('ReadMessage', (packet: Packet) => packet.opcode.length);
sock.setCallback('readMessage', (packet) => packet['progress']);
sock.setCallback('Status', (text, detail) => {
  const state: State = detail.state;
  return text + state + (detail.delay ?? 0);
});
sock.setCallback('close', ({ code, reconnect }) => reconnect ? code : 0);
sock.setCallback('resume', ({ outcome, lost = 0 }) => outcome === 'resumed' ? 0 : lost);
sock.setCallbackResume(({ outcome }) => outcome.length);
sock.setCallbackStatus((text) => text.length);
sock.setCallbackReady(() => sock.broadcast({ any: ['json'] }));
sock.setCallbackReadMessage(({ message }) => message);
sock.setCallbackClose(() => undefined);
sock.setCallback('Presence', ({ room, count, joined = 0, leftNames = [] }) => room + count + joined + leftNames.length);
sock.setCallbackPresence((packet) => packet.count);
sock.join('r', { name: 'Ann', announce: true }) && sock.join(7) && sock.leave('r') && sock.broadcast('hi', { room: 'r' });
sock.who('r').then(({ count, names }) => count + (names?.length ?? 0));

document.body.onclick = sock.init;
document.body.ondblclick = sock.quit;

const taken: boolean = sock.sendMsg({ opcode: 'echo' }) && sock.echo(1) && sock.feedback('hi', 'uuid');
const fyi: Promise<string> = sock.sendAsync({ opcode: 'broadcast', message: 'hi' });
const uuid: string | null = sock.uuid();
const open: boolean = sock.isOpen();
export default [taken, fyi, uuid, open];

// @ts-expect-error there is no such callback
sock.setCallback('message', () => undefined);
// @ts-expect-error the packet is no string
sock.setCallback('ready', (packet: string) => packet);
// @ts-expect-error a room needs a name
sock.join();
// @ts-expect-error uuid may be null
sock.uuid().length;
// @ts-expect-error there is no such option
socketWebClient('', '/web', { reconect: false });
// @ts-expect-error a reload is all that it can be
socketWebClient('', '/web', { resume: 'always' });

const dialog: ProgressDialog = progressDialog({ title: 'Reserving', steps: ['one'], hideable: false, words: { abort: 'Stop' } });
progressDialog().open();
dialog.update({ text: 'half', percent: 50, step: 0 });
dialog.update({ percent: null });
dialog.offerAbort(() => sock.sendMsg({ opcode: 'abort' }), 'This takes long.');
const status: Promise<number> = dialog.during(fetch('/')).then((response) => response.status);
export const more = [status, dialog.isOpen(), dialog.element.open];
dialog.close();

// @ts-expect-error the bar takes numbers
dialog.update({ percent: '50' });
// @ts-expect-error there is no such option
progressDialog({ titel: 'x' });
