/* The status page: what the server counts, live; and who may not see it. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { connected, openContext, openTab, say, textOf } from './browser.mjs';
import { startServer } from './server.mjs';
import { browser, server, useServer } from './stage.mjs';

const folder = process.env.PHPWS_SCREENSHOTS;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

useServer();

before(() => {
  if (folder) {
    mkdirSync(folder, { recursive: true });
  }
});

const figure = (page, name) => page.locator('#figures div').filter({ hasText: name }).locator('dd');

test('clients and messages appear within seconds', async () => {
  const context = await openContext(browser);
  const { page, errors } = await openTab(context, `${server.url}status`);
  await textOf(page, '#status', 'Live');
  await figure(page, 'Clients').filter({ hasText: /^1$/ }).waitFor();
  const other = await openTab(context, server.url);
  await connected(other.page);
  await say(other.page, 'one');
  await page.bringToFront();
  await figure(page, 'Clients').filter({ hasText: /^2$/ }).waitFor();
  await figure(page, 'Messages in').filter({ hasText: /^1$/ }).waitFor();
  const row = page.locator('#resources tr').filter({ hasText: '/web' });
  assert.deepEqual(await row.locator('td').allTextContents(), ['/web', '1', '1']);
  const clients = page.locator('#charts svg').first();
  assert.match(await clients.getAttribute('aria-label'), /^Clients: websocket 2, PHP and raw 0; most in two minutes 2$/);
  assert.ok((await clients.locator('path.line').first().getAttribute('d')).split('L').length >= 2, 'the line has points');
  await other.page.close();
  await page.locator('#group-refused-and-gone tr').filter({ hasText: /^10011$/ }).waitFor();
  assert.deepEqual(errors, []);
  await context.close();
});

test('each figure of /metrics is on the page, in groups', async () => {
  const context = await openContext(browser);
  const { page } = await openTab(context, `${server.url}status`);
  await textOf(page, '#status', 'Live');
  const metrics = await (await fetch(`${server.url}metrics`)).text();
  const helps = [...metrics.matchAll(/^# HELP \S+ (.*?)\.?$/gm)].map(([, help]) => help);
  const shown = await page.locator('#groups tr:not(.part) td:first-child').allTextContents();
  assert.deepEqual(helps.filter((help) => !shown.includes(help)), []);
  const memory = await page.locator('#group-memory tr').allTextContents();
  assert.deepEqual(memory.map((row) => row.match(/^(outbox|kept|inbox|shared|Most)/)?.[1]).filter(Boolean), ['outbox', 'kept', 'inbox', 'shared', 'Most']);
  await context.close();
});

test('a server that starts anew is shown from its beginning', async () => {
  let own = await startServer();
  const context = await openContext(browser);
  const { page } = await openTab(context, `${own.url}status`);
  await textOf(page, '#status', 'Live');
  await own.kill();
  await textOf(page, '#status', 'Reconnecting');
  own = await startServer({ port: own.port });
  await textOf(page, '#status', 'Live');
  await figure(page, 'Connections so far').filter({ hasText: /^\d$/ }).waitFor();
  await context.close();
  await own.kill();
});

test('a page from elsewhere gets nothing', async () => {
  const context = await openContext(browser);
  const { page } = await openTab(context, server.url);
  const foreign = await page.evaluate((port) => new Promise((end) => {
    const socket = new WebSocket(`ws://localhost:${port}/status`); // the page comes from 127.0.0.1
    socket.onmessage = ({ data }) => end(data);
    socket.onclose = ({ code, reason }) => end(`${code} ${reason}`);
  }), server.port);
  assert.equal(foreign, '1008 Only allowed hosts may watch');
  await context.close();
});

test('a browser behind a proxy that nobody named is told why it sees nothing', async () => {
  const context = await openContext(browser, { extraHTTPHeaders: { 'X-Forwarded-For': '127.0.0.1' } });
  const page = await context.newPage();
  await page.routeWebSocket(/status$/, (socket) => socket.close({ code: 1008, reason: 'Only allowed hosts may watch' }));
  await page.goto(`${server.url}status`);
  await textOf(page, '#status', 'Refused');
  await textOf(page, '#reason', /allowed-ip/);
  await context.close();
});

const SIZES = {
  phone: { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true },
  desktop: { viewport: { width: 1280, height: 800 } },
};

for (const [size, device] of Object.entries(SIZES)) {
  for (const colorScheme of ['light', 'dark']) {
    test(`${size}, ${colorScheme}: fits, and is accessible by axe's rules`, async () => {
      const context = await openContext(browser, { ...device, colorScheme, reducedMotion: 'reduce' });
      const { page, errors } = await openTab(context, `${server.url}status`);
      const load = await openTab(context, server.url);
      await connected(load.page);
      for (let i = 0; i < 5; i += 1) {
        await say(load.page, `message ${i}`);
      }
      await page.bringToFront();
      await page.waitForFunction(() => document.querySelector('#charts path.line').getAttribute('d').split('L').length >= 4);
      if (folder) {
        await page.screenshot({ path: join(folder, `status-${size}-${colorScheme}.png`), fullPage: true });
      }
      const { scroll, width } = await page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, width: innerWidth }));
      assert.ok(scroll <= width, `${scroll} px wide on a screen of ${width} px`);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.html)]), []);
      assert.deepEqual(errors, []);
      await context.close();
    });
  }
}
