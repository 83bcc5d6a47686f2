// An echo server on ws, after its README, with bufferutil: `node server.mjs [IP:PORT]`.
// Compression is off, as ws has it by default; ws turns Nagle off itself.
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const [host, port] = (process.argv[2] ?? '127.0.0.1:0').split(':');
const server = createServer();
const sockets = new WebSocketServer({ server, maxPayload: 64 << 20 });
sockets.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});
server.listen({ host, port: Number(port), backlog: 4096 }, () => {
  console.log(`listening on ${host}:${server.address().port}`);
});
