/*
 * How the page looks and reads: phone and desktop, light and dark. Writes screenshots to the folder
 * named in PHPWS_SCREENSHOTS.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SIZES, connected, openContext, openTab, overflow, say, shoot, textOf, violations } from './browser.mjs';
import { startServer } from './server.mjs';
import { browser, server, useServer } from './stage.mjs';

useServer();

/** Uses the page once, so that everything on it has something to show. */
async function inUse(context) {
  const { page, errors } = await openTab(context, server.url);
  const other = await openTab(context, server.url);
  await connected(page);
  await connected(other.page);
  await say(other.page, 'Hello from the other tab!');
  await say(other.page, `a long word: ${'abcdefghij'.repeat(12)}`);
  await page.locator('#others li').nth(1).waitFor({ state: 'attached' });
  await say(page, 'Nice to hear from you.');
  await page.click('#echo');
  await textOf(page, '#echoResult', 'came back');
  await page.click('summary');
  await page.click('#backend');
  await textOf(page, '#feedback', /loop [4-9]000/);
  return { page, errors, other: other.page };
}

for (const [size, device] of Object.entries(SIZES)) {
  for (const colorScheme of ['light', 'dark']) {
    test(`${size}, ${colorScheme}: fits, and is accessible by axe's rules`, async () => {
      const context = await openContext(browser, { ...device, colorScheme, reducedMotion: 'reduce' });
      const { page, errors } = await inUse(context);
      await shoot(page, `${size}-${colorScheme}`);

      assert.equal(await overflow(page), 0);
      assert.deepEqual(await violations(page), []);
      assert.deepEqual(errors, []);
      await context.close();
    });
  }
}

test('the keyboard reaches everything in reading order, and shows where it is', async () => {
  const context = await openContext(browser, SIZES.desktop);
  const { page } = await openTab(context, server.url);
  await connected(page);
  const reached = [];
  for (let i = 0; i < 13; i += 1) {
    await page.keyboard.press('Tab');
    reached.push(await page.evaluate(() => {
      const { id, localName } = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      return `${id || localName} ${outlineStyle} ${outlineWidth}`;
    }));
  }
  const order = ['copyUuid', 'disconnect', 'a', 'say', 'send', 'room', 'join', 'others', 'echo', 'backend', 'summary'];
  assert.deepEqual(reached.slice(0, order.length), order.map((name) => `${name} solid 3px`));
  await context.close();
});

test('at most 50 messages of others are kept, the newest on top', async () => {
  const context = await openContext(browser);
  const { page } = await openTab(context, server.url);
  const other = await openTab(context, server.url);
  await connected(page);
  await connected(other.page);
  await other.page.evaluate(async () => {
    const { socketWebClient } = await import('./socketWebClient.js');
    const client = socketWebClient();
    client.init();
    for (let i = 1; i <= 60; i += 1) {
      await client.sendAsync({ opcode: 'broadcast', message: i === 60 ? { not: 'a string' } : `message ${i}` });
    }
    client.quit();
  });
  await page.locator('#others li').filter({ hasText: '{"not":"a string"}' }).waitFor({ state: 'attached' });
  const kept = await page.locator('#others li').evaluateAll((items) => items.map((item) => item.firstChild.data));
  assert.equal(kept.length, 50);
  assert.equal(kept[1], 'message 59');
  assert.equal(kept[49], 'message 11');
  await context.close();
});

test('a server that is gone is shown as such', async () => {
  const gone = await startServer();
  const context = await openContext(browser, { ...SIZES.phone, reducedMotion: 'reduce' });
  const { page } = await openTab(context, gone.url);
  await connected(page);
  await gone.kill();
  await textOf(page, '#status', /Reconnecting in \d+ s \(try \d+\)/);
  assert.equal(await page.locator('#echo').isDisabled(), true);
  assert.equal(await page.locator('#backend').isDisabled(), true);
  await say(page, 'Is anybody there?');
  await shoot(page, 'phone-reconnecting');
  await page.click('#disconnect');
  await textOf(page, '#status', /^Disconnected$/);
  await textOf(page, '#sent', 'Not sent');
  assert.equal(await page.locator('#say').inputValue(), 'Is anybody there?');
  await context.close();
});

test('the reason why the server closes is shown', async () => {
  const full = await startServer({ options: ['--max-clients', '1'] });
  const context = await openContext(browser);
  const first = await openTab(context, full.url);
  await connected(first.page);
  const second = await openTab(context, full.url);
  await textOf(second.page, '#reason', 'Too many connections');
  await textOf(second.page, '#status', /Reconnecting in [3-6]\d s/);
  await context.close();
  await full.kill();
});
