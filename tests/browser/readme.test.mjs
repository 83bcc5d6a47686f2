/*
 * The picture in the README: two people on the built-in page, and a job that reports. `make screenshot`
 * writes it to docs/page.png.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected, openContext, openTab, say, shoot, textOf } from './browser.mjs';
import { browser, server, useServer } from './stage.mjs';

useServer();

test('the page shows what the README says of it: broadcast, echo, feedback', async () => {
  const context = await openContext(browser, { viewport: { width: 1000, height: 700 }, reducedMotion: 'reduce' });
  const { page, errors } = await openTab(context, server.url);
  const other = await openTab(context, server.url);
  await connected(page);
  await connected(other.page);
  await say(other.page, 'Hello, is anybody there?');
  await say(other.page, 'Order 4711 is paid.');
  await page.locator('#others li').nth(1).waitFor({ state: 'attached' });
  await say(page, 'Nice to hear from you.');
  await page.click('#echo');
  await textOf(page, '#echoResult', 'came back');
  await page.click('#backend');
  await textOf(page, '#feedback', /loop [6-9]000/);
  await shoot(page, 'page');
  assert.deepEqual(errors, []);
  await context.close();
});
