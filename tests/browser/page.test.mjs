/* The built-in page as a person uses it, over ws and over wss, with two tabs. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connected, openContext, openTab, say, textOf } from './browser.mjs';
import { selfSigned } from './server.mjs';
import { browser, context, server, restartServer, useContext, useServer } from './stage.mjs';

const REFUSED = /WebSocket connection to .* failed/;

for (const scheme of ['ws', 'wss']) {
  describe(`the page over ${scheme}`, () => {
    const options = scheme === 'wss' ? selfSigned() : [];

    useServer({ scheme, options });
    useContext();

    async function twoTabs() {
      const one = await openTab(context, server.url);
      const two = await openTab(context, server.url);
      return {
        one: one.page,
        two: two.page,
        async close() {
          await one.page.close();
          await two.page.close();
          assert.deepEqual([...one.errors, ...two.errors], []);
        },
      };
    }

    test('each tab is connected and has a uuid of its own', async () => {
      const { one, two, close } = await twoTabs();
      assert.equal(await textOf(one, '#status', 'Connected'), 'Connected');
      assert.notEqual(await connected(one), await connected(two));
      await close();
    });

    test('what one tab says is heard by the other and not by itself', async () => {
      const { one, two, close } = await twoTabs();
      await connected(one);
      await connected(two);
      await say(one, 'grüße <b>all</b> 👋 pong');
      await textOf(two, '#others li', 'grüße <b>all</b> 👋 pong');
      await textOf(one, '#sent', 'Sent to all others');
      await one.click('#echo');
      await textOf(one, '#echoResult', 'came back');
      assert.equal(await one.locator('#others li').count(), 0);
      assert.equal(await two.locator('#others li').count(), 1);
      assert.equal(await two.locator('#others b').count(), 0, 'markup of others is text');
      await close();
    });

    test('a room of two tabs counts them, and the third tab hears nothing of it', async () => {
      const { one, two, close } = await twoTabs();
      const three = await openTab(context, server.url);
      for (const tab of [one, two, three.page]) {
        await connected(tab);
      }
      for (const [tab, count] of [[one, 1], [two, 2]]) {
        await tab.fill('#room', 'order 4711');
        await tab.click('#join');
        await textOf(tab, '#inRoom', `${count} in room`);
      }
      await textOf(one, '#inRoom', '2 in room “order 4711”');
      await say(one, 'paid');
      await textOf(two, '#others li', 'paid');
      await two.click('#join');
      await textOf(one, '#inRoom', '1 in room');
      await say(two, 'to all');
      await textOf(three.page, '#others li', 'to all');
      assert.equal(await three.page.locator('#others li').count(), 1);
      await three.page.close();
      assert.deepEqual(three.errors, []);
      await close();
    });

    test('messages arrive in the order they were said', async () => {
      const { one, two, close } = await twoTabs();
      await connected(one);
      await connected(two);
      const said = Array.from({ length: 20 }, (_, i) => `message ${i}`);
      for (const text of said) {
        await say(one, text);
      }
      await two.locator('#others li').nth(said.length - 1).waitFor({ state: 'attached' });
      const heard = await two.locator('#others li').evaluateAll((items) => items.map((item) => item.firstChild.data));
      assert.deepEqual(heard.reverse(), said);
      await close();
    });

    test('an echo comes back with its round trip time', async () => {
      const { one, close } = await twoTabs();
      await connected(one);
      await one.click('#echo');
      assert.match(await textOf(one, '#echoResult', 'Echo 1'), /^“Echo 1” came back in \d+\.\d ms$/);
      await close();
    });

    test('the simulated backend reports to its own page only, up to 100 %', async () => {
      const { one, two, close } = await twoTabs();
      await connected(one);
      await connected(two);
      await one.bringToFront();
      const reports = await one.evaluateHandle(() => {
        const seen = [];
        const [text, bar] = ['feedback', 'progress'].map((id) => document.getElementById(id));
        new MutationObserver(() => seen.push([text.textContent, bar.value])).observe(text, { childList: true });
        return seen;
      });
      await one.click('#backend');
      await textOf(one, '#feedback', 'done');
      await one.locator('#backend:enabled').waitFor();
      const loops = Array.from({ length: 9 }, (_, i) => [`loop ${i + 1}000`, 10 * (i + 1)]);
      assert.deepEqual(await reports.jsonValue(), [['doing some work', 0], ...loops, ['done', 100]]);
      assert.equal(await two.locator('#feedback').textContent(), '');
      await close();
    });

    test('disconnect ends the connection for good and connect opens a new one', async () => {
      const { one, close } = await twoTabs();
      const uuid = await connected(one);
      await one.click('#disconnect');
      await textOf(one, '#status', /^Disconnected$/);
      assert.equal(await one.locator('#uuid').textContent(), '–');
      assert.equal(await one.locator('#disconnect').isDisabled(), true);
      await say(one, 'into the void');
      await textOf(one, '#sent', 'Not sent');
      await one.click('#connect');
      assert.notEqual(await connected(one), uuid);
      await close();
    });

    test('a killed server is noticed, waited for, and what was typed meanwhile arrives', async () => {
      const slow = await openContext(browser);
      await slow.clock.install();
      const one = await openTab(slow, server.url);
      const two = await openTab(context, server.url);
      const before = await connected(one.page);
      await connected(two.page);

      await server.kill('SIGKILL');
      await textOf(one.page, '#status', /Reconnecting/);
      await textOf(two.page, '#status', /Reconnecting/);
      assert.equal(await one.page.locator('#uuid').textContent(), '–');

      // A broadcast goes to those who are connected: time stands still for the first tab until
      // the second one is back.
      await slow.clock.pauseAt(Date.now() + 60_000);

      await say(one.page, 'typed while down');
      await textOf(one.page, '#sent', /Waits for the connection/);

      await restartServer({ scheme, options });
      await connected(two.page);
      await slow.clock.resume();
      assert.notEqual(await connected(one.page), before);
      await textOf(two.page, '#others li', 'typed while down');
      await textOf(one.page, '#sent', /Sent to all others/);
      assert.equal(await two.page.locator('#others li').count(), 1);

      await slow.close();
      await two.page.close();
      const unexpected = [...one.errors, ...two.errors].filter((text) => !REFUSED.test(text));
      assert.deepEqual(unexpected, []);
    });

    test('the code to copy names this page and this server', async () => {
      const { one, close } = await twoTabs();
      const uuid = await connected(one);
      assert.equal(await one.locator('#snippet').textContent(), [
        `$uuid = '${uuid}';`,
        `$talk = new Phpws\\Client('${scheme}://${server.host}/php');`,
        "$talk->feedback('loop 4000', $uuid);",
        '$talk->close();',
      ].join('\n'));
      await context.grantPermissions(['clipboard-read', 'clipboard-write']);
      await one.click('#copyUuid');
      await textOf(one, '#copyUuid', 'Copied');
      assert.equal(await one.evaluate(() => navigator.clipboard.readText()), uuid);
      await close();
    });
  });
}
