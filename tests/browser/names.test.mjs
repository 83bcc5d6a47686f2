/*
 * The function names of the PHP original in a real browser: as a module, and as the global function
 * of a page with classic scripts, in the ways of 2021 and of 2026, from a web server of its own.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { openTab } from './browser.mjs';
import { context, server, useContext, useServer } from './stage.mjs';

useServer();
useContext();

test('every function of the original is there and does its work', async () => {
  const { page, errors } = await openTab(context, server.url);
  const seen = await page.evaluate(async (host) => {
    const { default: socketWebClient } = await import('./socketWebClient.js');
    const sock = socketWebClient(`tcp://${host}`, '/web');
    const heard = [];
    const wait = (want) => new Promise((resolve) => {
      const timer = setInterval(() => {
        if (want()) {
          clearInterval(timer);
          resolve();
        }
      }, 10);
    });
    sock.setCallback('Status', (line) => heard.push(`status ${line.split(' ')[0]}`));
    sock.setCallback('ready', () => heard.push(`ready ${sock.uuid().length}`));
    sock.setCallback('ReadMessage', (packet) => heard.push(`${packet.opcode} ${packet.message}`));
    sock.setCallback('Close', () => heard.push('close'));
    sock.init();
    await wait(sock.isOpen);
    const uuid = sock.uuid();
    sock.sendMsg({ opcode: 'echo', message: 'by sendMsg' });
    sock.echo('by echo');
    sock.feedback('by feedback', uuid);
    sock.broadcast('not for me');
    const fyi = await sock.sendAsync({ opcode: 'echo', message: 'by sendAsync' });
    await wait(() => heard.includes('echo by sendAsync'));
    sock.quit();
    await wait(() => heard.includes('close'));
    return { heard, fyi, open: sock.isOpen(), uuid: sock.uuid() };
  }, server.host);
  assert.deepEqual(seen, {
    heard: [
      'status Connecting', 'status Connected', 'ready 36',
      'echo by sendMsg', 'echo by echo', 'feedback by feedback', 'echo by sendAsync',
      'status Disconnecting', 'status Disconnected', 'close',
    ],
    fyi: '',
    open: false,
    uuid: null,
  });
  assert.deepEqual(errors, []);
});

const STYLES = {
  2021: (host) => `
    var at = '${host}'.split(':'), sock = socketWebClient('tcp://' + at[0], at[1], '/web');
    sock.setCallbackReady(begin);
    sock.setCallbackReadMessage(read);
    sock.setCallbackStatus(function () {});
    sock.setCallbackClose(function () {});`,
  2026: (host) => `
    var sock = socketWebClient('ws://${host}', '/web');
    sock.setCallback('ready', begin);
    sock.setCallback('ReadMessage', read);
    sock.setCallback('Status', function () {});
    sock.setCallback('Close', function () {});`,
};

const CLASSIC_PAGE = (script) => `<!DOCTYPE html><title>classic</title><p id="read"></p>
  <link rel="icon" href="data:,">
  <script type="module">
    import { socketWebClient } from './socketWebClient.js';
    window.socketWebClient = socketWebClient;
  </script>
  <script>
    window.addEventListener('load', function () {
      function begin() { sock.sendMsg({ opcode: 'echo', message: 'from ' + sock.uuid() }); }
      function read(packet) { document.getElementById('read').textContent = packet.message; }
      ${script}
      sock.init();
    });
  </script>`;

/** The web server that such a page comes from, on another port than the WebSocket server. */
async function webServer(html) {
  const script = readFileSync(new URL('../../clients/web/socketWebClient.js', import.meta.url));
  const web = createServer((request, response) => {
    const isScript = request.url === '/socketWebClient.js';
    response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html');
    response.end(isScript ? script : html);
  });
  await once(web.listen(0, '127.0.0.1'), 'listening');
  return web;
}

for (const [year, script] of Object.entries(STYLES)) {
  test(`a page with classic scripts in the way of ${year} needs one more script tag`, async () => {
    const web = await webServer(CLASSIC_PAGE(script(server.host)));
    const { page, errors } = await openTab(context, `http://127.0.0.1:${web.address().port}/`);
    await page.locator('#read').filter({ hasText: /^from [0-9a-f-]{36}$/ }).waitFor();
    assert.deepEqual(errors, []);
    await page.close();
    web.closeAllConnections();
    web.close();
  });
}
