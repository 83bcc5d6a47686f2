/*
 * The HTML and JavaScript that the pages of the documentation show, in a browser: each block as it
 * stands there, but for the address of the server.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, test } from 'node:test';
import { connected, openTab, textOf } from './browser.mjs';
import { freePort, until } from './demo.mjs';
import { context, server, useContextEach, useServer } from './stage.mjs';

const root = resolve(import.meta.dirname, '../..');
const PAGES = ['README.md', 'clients/web/README.md', 'docs/deployment.md', 'docs/migration.md', 'docs/quickstart.md'];
const CLIENT = () => `import { socketWebClient } from './socketWebClient.js';
  const client = socketWebClient('ws://${server.host}'); const sock = client; const show = (text) => console.log(text); client.init();`;

const used = [];
const toClose = [];

useServer();
useContextEach();

afterEach(async () => {
  toClose.splice(0).forEach((web) => web.close());
});

/** The blocks of these kinds on a page, in order. */
function blocks(page, ...kinds) {
  const found = [...readFileSync(join(root, page), 'utf8').matchAll(/^```(\w+)\n(.*?)^```$/gms)];
  return found.filter(([, kind]) => kinds.includes(kind)).map(([, , text]) => text);
}

/** One of them, with the address of the server that runs. */
function block(page, number, replaced = 'ws://127.0.0.1:8095') {
  const text = blocks(page, 'html', 'js')[number];
  used.push(`${page} ${number}`);
  return text.replaceAll(replaced, `ws://${server.host}`);
}

const script = (text) => `<script type="module">${text}</script>`;

/** Opens HTML as a page beside the files of clients/web; `said` fills up with what it writes to the console. */
async function show(html, answers = {}) {
  const web = createServer((request, response) => {
    const path = new URL(request.url, 'http://x').pathname;
    if (answers[path]) {
      answers[path](response);
    } else if (path === '/') {
      response.setHeader('Content-Type', 'text/html');
      response.end(`<!doctype html><html lang="en"><title>block</title><link rel="icon" href="data:,"><body>${html}`);
    } else {
      response.setHeader('Content-Type', path.endsWith('.css') ? 'text/css' : 'text/javascript');
      response.end(readFileSync(join(root, 'clients/web', path)));
    }
  }).listen(0, '127.0.0.1');
  await once(web, 'listening');
  toClose.push(web);
  const page = await context.newPage();
  const said = [];
  page.on('console', (message) => said.push(message.text()));
  page.on('pageerror', (error) => said.push(`error: ${error}`));
  await page.goto(`http://127.0.0.1:${web.address().port}/`);
  return { page, said };
}

const hears = (said, part) => until(`a line with ${part} in ${said}`, () => said.some((line) => line.includes(part)));

/** A tab of the built-in page, which shows what others broadcast. */
async function other() {
  const { page } = await openTab(context, server.url);
  await connected(page);
  return page;
}

test('README: a page greets the others', async () => {
  const others = await other();
  const { said } = await show(block('README.md', 0));
  await hears(said, 'my uuid is');
  await textOf(others, '#others', 'hello');
});

test('clients/web: a page greets the others', async () => {
  const others = await other();
  await show(block('clients/web/README.md', 0));
  await textOf(others, '#others', /hello from [0-9a-f-]{36}/);
});

test('clients/web: a page that resumes', async () => {
  const lines = block('clients/web/README.md', 1, 'wss://example.org');
  const { said } = await show(script(`import { socketWebClient } from './socketWebClient.js';
    ${lines} sock.setCallback('ready', ({ resume }) => console.log('ready: ' + resume)); sock.init();`));
  await hears(said, 'ready: new');
});

test('clients/web: rooms', async () => {
  const { said } = await show(script(`${CLIENT()}\n${block('clients/web/README.md', 2)}\nshow('counted ' + count);`));
  await hears(said, '1 in order 4711');
  await hears(said, 'counted 1');
});

test('clients/web: the dialog stays until the request comes back', async () => {
  let answer;
  const globals = '<script>globalThis.sock = { setCallback() {} }; globalThis.body = "";</script>';
  const { page, said } = await show(globals + block('clients/web/README.md', 3), {
    '/reserve.php': (response) => { answer = () => response.end('reserved'); },
  });
  const dialog = page.getByRole('dialog', { name: 'Reserving' });
  await dialog.waitFor();
  await until('the request', () => answer !== undefined);
  answer();
  await dialog.waitFor({ state: 'detached' });
  assert.deepEqual(said, []);
});

test('clients/web: the lines for pages of the original', async () => {
  const { page, said } = await show(`${block('clients/web/README.md', 4)}<script>
    addEventListener('load', () => {
      const sock = socketWebClient('ws://${server.host}', '/web');
      sock.setCallbackReady(() => console.log('ready'));
      sock.init();
    });</script>`);
  await hears(said, 'ready');
  await page.close();
});

test('deployment: a page connects through the path of the proxy', async () => {
  const line = block('docs/deployment.md', 0, 'wss://example.org').replace('/ws/web', '/web');
  const { said } = await show(script(`import { socketWebClient } from './socketWebClient.js';
    ${line}; client.setCallback('ready', () => console.log('ready')); client.init();`));
  await hears(said, 'ready');
});

for (const [number, expected, message] of [
  [0, 'orders: order 4711 is paid', { title: 'order 4711 is paid' }],
  [1, 'order 4711 is on its way', { event: 'OrderShipped', data: { id: 4711 } }],
]) {
  test(`migration: the page of block ${number} shows what is published to its room`, async () => {
    const { said } = await show(script(`${CLIENT()}\n${block('docs/migration.md', number)}`));
    const publish = () => fetch(`${server.url}publish`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify([{ room: 'orders', message }]),
    });
    await until('a member of the room', async () => (await (await publish()).json()).results[0].delivered === 1);
    await hears(said, expected);
  });
}

test('quick start: the page shows how far the job is, and its end', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'phpws-quickstart-'));
  const port = await freePort();
  writeFileSync(join(folder, 'index.html'), block('docs/quickstart.md', 0));
  writeFileSync(join(folder, 'job.php'), blocks('docs/quickstart.md', 'php')[0].replace('http://127.0.0.1:8095/', server.url));
  copyFileSync(join(root, 'clients/web/socketWebClient.js'), join(folder, 'socketWebClient.js'));
  const php = spawn('php', ['-S', `127.0.0.1:${port}`, '-t', folder], { stdio: 'ignore' });
  const ended = once(php, 'exit');
  const kill = () => php.kill('SIGKILL');
  process.on('exit', kill);
  try {
    await until('PHP’s web server', () => fetch(`http://127.0.0.1:${port}/`).then((answer) => answer.ok, () => false));
    const { page, errors } = await openTab(context, `http://127.0.0.1:${port}/`);
    await page.waitForLoadState('networkidle');
    await page.click('#start');
    await textOf(page, '#text', 'step 2 of 5');
    assert.equal(await page.locator('#bar').evaluate((bar) => bar.value) >= 40, true);
    await textOf(page, '#text', /^done$/);
    assert.deepEqual(errors.filter((text) => !text.includes('404')), [], 'it has no icon, and all else');
  } finally {
    process.off('exit', kill);
    kill();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
});

test('no block was forgotten', () => {
  const all = PAGES.flatMap((page) => blocks(page, 'html', 'js').map((_, number) => `${page} ${number}`));
  assert.deepEqual(used.toSorted(), all.toSorted());
});
