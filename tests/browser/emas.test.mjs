/* EMAS in several tabs: titles are dimmed, freed and ordered. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openContext, openTab, startBrowser, textOf } from './browser.mjs';
import { until } from './demo.mjs';
import { context, demo, useContextEach, useDemo } from './stage.mjs';

useDemo();
useContextEach();

/** A tab that shows the first page of titles, or of a shelf, and has its answer. */
async function tab(shelf = 'All') {
  const { page, errors } = await openTab(context, `${demo.url}emas.html`);
  await page.locator('.title').first().waitFor();
  if (shelf !== 'All') {
    await page.getByRole('button', { name: shelf, exact: true }).click();
  }
  await settled(page);
  return { page, errors };
}

const settled = (page) => page.waitForFunction(() => {
  const titles = [...document.querySelectorAll('.title')];
  return titles.length > 0 && titles.every((title) => title.dataset.state !== 'asking');
});

const states = (page) => page.locator('.title').evaluateAll(
  (titles) => Object.fromEntries(titles.map((title) => [title.dataset.id, title.dataset.state])),
);

const count = async (page, state) => Object.values(await states(page)).filter((shown) => shown === state).length;

const becomes = (page, state, wanted) => until(`${wanted} titles ${state}`, async () => await count(page, state) === wanted);

test('titles that another tab shows are dimmed and cannot be ordered', async () => {
  const one = await tab();
  const two = await tab();
  assert.equal(await count(one.page, 'mine'), 12);
  assert.equal(await count(two.page, 'locked'), 12);
  assert.equal(await textOf(two.page, '.title:first-child .badge', 'Somebody'), 'Somebody else has it');
  assert.equal(await two.page.locator('.title button:enabled').count(), 0);
  const colour = (page) => page.locator('.title').first().evaluate((title) => getComputedStyle(title).color);
  assert.notEqual(await colour(one.page), await colour(two.page));
  assert.deepEqual([...one.errors, ...two.errors], []);
});

test('two shelves share some titles: only those are dimmed, and freed when the other turns the page', async () => {
  const one = await tab();
  const two = await tab('History');
  const shared = Object.keys(await states(one.page)).filter((id) => id.startsWith('978300'));
  const dimmed = Object.entries(await states(two.page)).filter(([, state]) => state === 'locked').map(([id]) => id);
  assert.ok(shared.length > 0 && shared.length < 12);
  assert.deepEqual(dimmed.sort(), shared.sort());
  await one.page.click('#after');
  await becomes(two.page, 'mine', 12);
  await textOf(two.page, '#news', `${shared.length} titles are yours now.`);
});

test('a tab that closes frees its titles at once, for the one that waited longest', async () => {
  const [one, two, three] = [await tab(), await tab(), await tab()];
  await one.page.close();
  const took = await becomes(two.page, 'mine', 12);
  assert.equal(await count(three.page, 'locked'), 12);
  await two.page.close();
  await becomes(three.page, 'mine', 12);
  console.log(`# a closed tab's titles were free in the other after ${took} ms`);
});

test('a tab whose process dies frees its titles', async () => {
  const other = await startBrowser();
  const doomed = await openContext(other);
  const { page } = await openTab(doomed, `${demo.url}emas.html`);
  await settled(page);
  const two = await tab();
  assert.equal(await count(two.page, 'locked'), 12);
  const crashed = page.waitForEvent('crash');
  const session = await doomed.newCDPSession(page);
  session.send('Page.crash').catch(() => {}); // nobody is left to answer
  await crashed;
  await becomes(two.page, 'mine', 12);
  await other.close();
});

test('a restarted server is told again what each tab shows', async () => {
  const one = await tab();
  const two = await tab();
  await demo.killServer();
  await becomes(one.page, 'asking', 12);
  assert.equal(await one.page.locator('.title button:enabled').count(), 0);
  await demo.restartServer();
  await settled(one.page);
  await settled(two.page);
  const held = [await states(one.page), await states(two.page)];
  for (const id of Object.keys(held[0])) {
    assert.deepEqual(held.map((each) => each[id]).sort(), ['locked', 'mine'], id);
  }
});

test('an order goes through its steps, and all tabs see it', async () => {
  const one = await tab('Arts');
  const two = await tab('Arts');
  const name = await textOf(one.page, '.title:first-child h3', /./);
  const dialog = one.page.getByRole('dialog', { name: 'Ordering' });
  await one.page.getByRole('button', { name: `Order ${name}` }).click();
  await dialog.waitFor();
  await dialog.locator('li[aria-current=step]').filter({ hasText: 'Asking the supplier' }).waitFor();
  await dialog.waitFor({ state: 'detached' });
  await textOf(one.page, '#news', `Ordered: ${name}`);
  for (const { page, errors } of [one, two]) {
    await page.locator('.title:first-child[data-state=ordered]').waitFor();
    assert.equal(await page.locator('.title:first-child button').isDisabled(), true);
    assert.deepEqual(errors, []);
  }
  await one.page.reload();
  await one.page.locator('.title[data-state=ordered]').waitFor();
});

test('the backend asks the server who holds a title, and not the page', async () => {
  await tab('Science');
  const two = await tab('Science');
  const [status, answer] = await two.page.evaluate(async () => {
    const { socketWebClient } = await import('../socketWebClient.js');
    const { address } = await (await fetch('../backend/settings.php')).json();
    const client = socketWebClient(address, '/emas');
    await new Promise((ready) => {
      client.setCallback('ready', ready);
      client.init();
    });
    const id = document.querySelector('.title').dataset.id;
    const response = await fetch('../backend/emas.php', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ uuid: client.uuid(), id }),
    });
    return [response.status, await response.json()];
  });
  assert.deepEqual([status, answer], [409, { error: 'Somebody else is working with this title.' }]);
});
