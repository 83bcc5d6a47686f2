/*
 * What a real browser makes of the web client's option `resume`: the codes that it closes with as a page
 * goes, reloads, stays in the cache, and what a reloaded page knows. The server is one of the test's own.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, beforeEach, test } from 'node:test';
import { context, useBrowser, useContext } from './stage.mjs';

const MODULE = readFileSync(new URL('../../clients/web/socketWebClient.js', import.meta.url));
const PAGE = `<!DOCTYPE html><title>resume</title><link rel="icon" href="data:,">
<script type="module">
  import { socketWebClient } from './socketWebClient.js';
  const resume = new URLSearchParams(location.search).get('mode') === 'reload' ? 'reload' : true;
  const sock = socketWebClient('', '/web', { resume });
  window.heard = [];
  sock.setCallback('ready', () => heard.push('ready'));
  sock.setCallback('resume', ({ outcome }) => heard.push(outcome));
  sock.setCallback('readMessage', ({ message }) => heard.push(message));
  sock.setCallback('close', ({ code, reconnect }) => { window.lastClose = [code, reconnect]; });
  sock.init();
</script>`;

/** Connections in their order: the query of the request, its socket, and the code it was closed with. */
let connections;
let server;

useBrowser();
useContext();

const text = (packet) => {
  const bytes = Buffer.from(JSON.stringify(packet));
  return Buffer.concat([Buffer.from([0x81, bytes.length]), bytes]);
};

before(async () => {
  server = createServer((request, response) => {
    const isModule = request.url === '/socketWebClient.js';
    response.setHeader('Content-Type', isModule ? 'text/javascript' : 'text/html');
    response.end(isModule ? MODULE : PAGE);
  });
  server.on('upgrade', (request, socket) => {
    const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    const connection = { query: new URL(request.url, 'http://x').search, socket, code: undefined };
    connection.ended = new Promise((resolve) => { socket.on('close', resolve); });
    connections.push(connection);
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      // Short frames only: the head, the mask, and of a close frame its code.
      if (bytes[0] === 0x88 && connection.code === undefined) {
        connection.code = bytes.length < 8 ? 1005 : bytes.readUInt16BE(6) ^ bytes.readUInt16BE(2);
        socket.end(connection.closing ? undefined : Buffer.from([0x88, 0]));
      }
    });
    const resumes = connection.query !== '?resume=';
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    socket.write(text({ opcode: 'ready', uuid: 'u', resume: resumes ? 'resumed' : 'new', seq: resumes ? 1 : 0, keep: 60 }));
    socket.write(text({ opcode: 'feedback', message: resumes ? 'two' : 'one', seq: resumes ? 2 : 1 }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

after(() => {
  server?.closeAllConnections();
  server?.close();
});

beforeEach(() => { connections = []; });

const url = (mode) => `http://127.0.0.1:${server.address().port}/?mode=${mode}`;

async function open(mode, count) {
  const page = await context.newPage();
  await page.goto(url(mode));
  await heard(page, count ?? 2);
  return page;
}

async function heard(page, count) {
  await page.waitForFunction((wanted) => window.heard?.length >= wanted, count);
  return page.evaluate(() => window.heard);
}

test('a page that is reloaded or left says goodbye, and begins anew', async () => {
  const page = await open('page');
  await page.reload();
  assert.deepEqual(await heard(page, 2), ['ready', 'one']);
  await connections[0].ended;
  await page.goto('about:blank');
  await connections[1].ended;
  assert.deepEqual(connections.map(({ query, code }) => [query, code]), [['?resume=', 1000], ['?resume=', 1000]]);
  await page.close();
});

test('a tab that is closed says goodbye', async () => {
  const page = await open('page');
  await page.close({ runBeforeUnload: true });
  await connections[0].ended;
  assert.equal(connections[0].code, 1000);
});

test('with reload the page goes on as the client it was, and says no goodbye', async () => {
  const page = await open('reload');
  await page.reload();
  assert.deepEqual(await heard(page, 3), ['resumed', 'ready', 'two']);
  await connections[0].ended;
  assert.ok(![1000, 1005].includes(connections[0].code), `closed with ${connections[0].code}`);
  assert.equal(connections[1].query, '?resume=u&seq=1');
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await page.close();
});

test('a window that a page opens, with a copy of its storage, is a client of its own', async () => {
  const page = await open('reload');
  const [copy] = await Promise.all([context.waitForEvent('page'), page.evaluate(() => { window.open(location.href); })]);
  assert.deepEqual(await heard(copy, 2), ['ready', 'one']);
  assert.deepEqual(connections.map(({ query }) => query), ['?resume=', '?resume=']);
  await copy.close();
  await page.close();
});

test('a broken connection is resumed, 4000 is the end', async () => {
  const page = await open('page');
  connections[0].socket.destroy();
  assert.deepEqual(await heard(page, 4), ['ready', 'one', 'resumed', 'two']);
  connections[1].closing = true;
  connections[1].socket.write(Buffer.from([0x88, 2, 0x0f, 0xa0]));
  await connections[1].ended;
  await page.waitForFunction(() => window.lastClose[0] !== 1006);
  assert.deepEqual(await page.evaluate(() => window.lastClose), [4000, false]);
  assert.equal(connections.length, 2);
  await page.close();
});
