/* WLBRISERVA: the steps of a reservation in a dialog, and two tabs that want the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTab, textOf } from './browser.mjs';
import { until } from './demo.mjs';
import { context, demo, useContextEach, useDemo } from './stage.mjs';

useDemo({ pause: 150 });
useContextEach();

async function tab() {
  const { page, errors } = await openTab(context, `${demo.url}wlbriserva.html`);
  await page.locator('.calendar tbody button').last().waitFor();
  return { page, errors, dialog: page.getByRole('dialog', { name: 'Reserving a workspace' }) };
}

/** The column and row of a time with so many free workspaces or more. */
async function timeWith(page, least) {
  const free = await page.locator('.calendar tbody tr').evaluateAll(
    (rows) => rows.map((row) => [...row.querySelectorAll('button')].map((cell) => Number(cell.dataset.free))),
  );
  const row = free.findIndex((cells) => cells.some((count) => count >= least));
  const column = free[row].findIndex((count) => count >= least);
  return { free: free[row][column], cell: (other) => other.locator('.calendar tbody tr').nth(row).locator('button').nth(column) };
}

test('the steps appear in order until the request comes back, and the focus returns', async () => {
  const { page, errors, dialog } = await tab();
  const { cell } = await timeWith(page, 1);
  const seen = await page.evaluateHandle(() => {
    const steps = [];
    const look = () => {
      const now = document.querySelector('.progress-dialog [aria-current=step]')?.textContent;
      const percent = document.querySelector('.progress-dialog progress')?.value;
      if (now !== undefined && now !== steps.at(-1)?.[0]) {
        steps.push([now, percent]);
      }
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
    return steps;
  });
  await cell(page).focus();
  await page.keyboard.press('Enter');
  await dialog.waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Reserving a workspace');
  assert.equal(await page.evaluate(() => document.activeElement.closest('dialog').matches(':modal')), true);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Hide');
  await textOf(page, '#news', /^Workspace \d is yours on /);
  await dialog.waitFor({ state: 'detached' });
  const steps = await seen.jsonValue();
  assert.deepEqual(steps.map(([name]) => name), ['Reading the calendar', 'Looking for a free workspace', 'Booking it']);
  const percents = steps.map(([, percent]) => percent);
  assert.deepEqual(percents, percents.toSorted((a, b) => a - b));
  assert.match(await page.evaluate(() => document.activeElement.textContent), /^No\. \d$/);
  assert.deepEqual(errors, []);
});

test('Escape hides the dialog, the work goes on, and it can be shown again', async () => {
  const { page, dialog } = await tab();
  const { cell } = await timeWith(page, 1);
  await cell(page).click();
  await dialog.waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  assert.equal(await page.evaluate(() => document.activeElement.id), 'again');
  await page.keyboard.press('Enter');
  await dialog.waitFor();
  await page.keyboard.press('Escape');
  await textOf(page, '#news', /is yours/);
  assert.match(await page.evaluate(() => document.activeElement.textContent), /^No\. \d$/);
  assert.equal(await page.locator('#again').isVisible(), false);
});

test('what one tab reserves, the other shows at once', async () => {
  const one = await tab();
  const two = await tab();
  const { cell, free } = await timeWith(two.page, 2);
  await cell(one.page).click();
  await textOf(one.page, '#news', /is yours/);
  await until('one less', async () => await cell(two.page).textContent() === `${free - 1} free`);
  assert.match(await cell(one.page).textContent(), /^No\. \d$/);
  assert.deepEqual([...one.errors, ...two.errors], []);
});

test('two tabs that reserve the same time together get a workspace each', async () => {
  const one = await tab();
  const two = await tab();
  const { cell } = await timeWith(one.page, 2);
  await Promise.all([one, two].map(({ page }) => cell(page).evaluate((button) => button.click())));
  const told = await Promise.all([one, two].map(({ page }) => textOf(page, '#news', /is yours/)));
  assert.notEqual(/\d/.exec(told[0])[0], /\d/.exec(told[1])[0]);
});

test('who comes too late is told so', async () => {
  const one = await tab();
  const { cell, free } = await timeWith(one.page, 1);
  const tabs = [one];
  while (tabs.length <= free) {
    tabs.push(await tab());
  }
  await Promise.all(tabs.map(({ page }) => cell(page).evaluate((button) => button.click())));
  const told = await Promise.all(tabs.map(({ page }) => textOf(page, '#news', /./)));
  assert.equal(told.filter((text) => /is yours/.test(text)).length, free);
  assert.equal(told.filter((text) => text === 'Nothing was reserved. No workspace is free then.').length, 1);
  await until('nothing free', async () => await cell(tabs[0].page).getAttribute('data-free') === '0');
});

test('a screen reader finds the dialog, its bar and its step, nothing behind it, and is told each step', async () => {
  const { page, dialog } = await tab();
  const { cell } = await timeWith(page, 1);
  await page.evaluate(() => {
    globalThis.told = [];
    new MutationObserver(() => {
      const text = document.querySelector('.progress-dialog [role=status]')?.textContent;
      if (text && text !== globalThis.told.at(-1)) {
        globalThis.told.push(text);
      }
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await cell(page).click();
  await dialog.locator('[aria-current=step]').filter({ hasText: 'Looking' }).waitFor();
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send('Accessibility.getFullAXTree');
  const heard = nodes.filter(({ ignored }) => !ignored);
  const of = (role) => heard.filter((node) => node.role?.value === role);
  const property = (node, name) => node.properties?.find((each) => each.name === name)?.value.value;

  const [found] = of('dialog');
  assert.equal(found.name.value, 'Reserving a workspace');
  assert.equal(property(found, 'modal'), true);
  const [bar] = of('progressbar');
  assert.equal(bar.name.value, 'Reserving a workspace');
  assert.ok(bar.value.value > 0 && bar.value.value < 100, `the bar is at ${bar.value.value}`);
  assert.equal(of('listitem').length, 3);
  const status = of('status').map((node) => property(node, 'live'));
  assert.ok(status.includes('polite'), 'what is told does not interrupt');
  assert.deepEqual(of('button').map((node) => node.name.value), ['Hide'], 'the calendar behind is out of reach');

  await textOf(page, '#news', /is yours/);
  const told = await page.evaluate(() => globalThis.told);
  const steps = ['Reading the calendar', 'Looking for a free workspace', 'Booking it'];
  assert.deepEqual(steps.filter((step) => told.some((text) => text.includes(step))), steps, told.join(' | '));
});
