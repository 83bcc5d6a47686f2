/* How the pages of the three applications look and read: phone and desktop, light and dark. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SIZES, openContext, openTab, overflow, shoot, textOf, violations } from './browser.mjs';
import { browser, demo, useDemo } from './stage.mjs';

useDemo({ pause: 1_000 });

const USE = {
  index: async (page) => { await page.locator('.choice').nth(2).waitFor(); },
  emas: async (page, context) => {
    await page.locator('.title[data-state=mine]').nth(11).waitFor();
    const other = await openTab(context, `${demo.url}emas.html`);
    await other.page.getByRole('button', { name: 'Science', exact: true }).click();
    await other.page.locator('.title[data-state=mine]').first().waitFor();
    await page.getByRole('button', { name: 'History', exact: true }).click();
    await page.getByRole('button', { name: 'All', exact: true }).click();
    await page.locator('.title[data-state=locked]').first().waitFor();
    await page.locator('.title[data-state=mine]').first().waitFor();
  },
  rvk: async (page) => {
    await page.locator('#start:enabled').waitFor();
    await page.click('#start');
    await textOf(page, '#news', 'titles in');
  },
  wlbriserva: async (page) => {
    await page.locator('.calendar button').last().waitFor();
  },
};

/** Opens the dialog of a page, as far as it shows most. */
const WAIT = {
  rvk: async (page) => {
    await page.check('input[value="1000000000"]');
    await page.click('#start');
    await page.getByRole('button', { name: 'Abort the query' }).waitFor();
  },
  wlbriserva: async (page) => {
    await page.locator('.calendar button:not([data-free="0"])').first().click();
    await page.locator('[aria-current=step]').filter({ hasText: 'Looking' }).waitFor();
  },
};

/** The rest of it, to what the page shows then. */
const DONE = {
  wlbriserva: async (page) => {
    await textOf(page, '#news', 'is yours');
    await page.locator('.calendar button').filter({ hasText: 'No. ' }).waitFor();
  },
};

for (const [size, device] of Object.entries(SIZES)) {
  for (const colorScheme of ['light', 'dark']) {
    for (const [name, use] of Object.entries(USE)) {
      test(`${name}, ${size}, ${colorScheme}: fits, and is accessible by axe's rules`, async () => {
        const context = await openContext(browser, { ...device, colorScheme, reducedMotion: 'reduce' });
        const { page, errors } = await openTab(context, `${demo.url}${name === 'index' ? '' : `${name}.html`}`);
        await use(page, context);
        await page.bringToFront();
        await shoot(page, `demo-${name}-${size}-${colorScheme}`);
        assert.equal(await overflow(page), 0);
        assert.deepEqual(await violations(page), []);
        if (name in WAIT) {
          await WAIT[name](page);
          await shoot(page, `demo-${name}-${size}-${colorScheme}-dialog`, false);
          assert.equal(await overflow(page), 0);
          assert.deepEqual(await violations(page), []);
          const moving = await page.locator('progress').evaluate((bar) => bar.getAnimations().length);
          assert.equal(moving, 0, 'reduced motion is wished for');
        }
        if (name in DONE && size === 'desktop') {
          await DONE[name](page);
          assert.deepEqual(await violations(page), []);
        }
        assert.deepEqual(errors, []);
        await context.close();
      });
    }
  }
}

test('the keyboard reaches all that can be done with titles, and shows where it is', async () => {
  const context = await openContext(browser, SIZES.desktop);
  const { page } = await openTab(context, `${demo.url}emas.html`);
  await page.locator('.title[data-state=mine]').nth(11).waitFor();
  const reached = [];
  for (let i = 0; i < 12; i += 1) {
    await page.keyboard.press('Tab');
    reached.push(await page.evaluate(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      return `${document.activeElement.textContent} ${outlineStyle} ${outlineWidth}`;
    }));
  }
  const order = ['All three', 'EMAS', 'RVK browser', 'WLBRISERVA', 'Open a second tab', 'All', 'History', 'Science', 'Arts', 'Next', 'Order', 'Order'];
  assert.deepEqual(reached, order.map((name) => `${name} solid 3px`));
  await context.close();
});
