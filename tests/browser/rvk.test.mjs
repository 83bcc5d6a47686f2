/* The RVK browser: a long query is reported, aborted, and ended in every way that it can be left. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { openTab, textOf } from './browser.mjs';
import { isAlive, until } from './demo.mjs';
import { context, demo, useContextEach, useDemo } from './stage.mjs';

useDemo();
useContextEach();

afterEach(async () => {
  await until('the end of all queries', () => demo.queries().length === 0);
});

async function tab() {
  const { page, errors } = await openTab(context, `${demo.url}rvk.html`);
  await page.locator('#start:enabled').waitFor();
  return { page, errors, dialog: page.getByRole('dialog', { name: 'Asking the database' }) };
}

/** A tab with a query that would take minutes, and that query's process. */
async function busyTab() {
  const one = await tab();
  const before = new Set(demo.queries().map(([pid]) => pid));
  await one.page.check('input[value="1000000000"]');
  await one.page.click('#start');
  await until('a query', () => demo.queries().length > before.size);
  return { ...one, query: demo.queries().find(([pid]) => !before.has(pid)) };
}

const focused = (page) => page.evaluate(() => document.activeElement.textContent || document.activeElement.id);

test('a short query gives its answer and no offer', async () => {
  const { page, errors, dialog } = await tab();
  await page.click('#start');
  await textOf(page, '#news', /^\d+ titles in [\d.]+ s$/);
  assert.equal(await dialog.count(), 0);
  assert.equal(await page.locator('#result tbody tr').count(), 13);
  assert.deepEqual(errors, []);
});

test('the page counts the seconds, then offers to abort; Escape asks, Enter aborts, the process is gone', async () => {
  const { page, errors, dialog, query: [pid] } = await busyTab();
  assert.equal(await focused(page), 'Asking the database');

  await textOf(page, '.progress-dialog-line', /at work for [12] second/);
  assert.equal(await dialog.getByRole('progressbar').evaluate((bar) => bar.hasAttribute('value')), false);
  assert.equal(await dialog.getByRole('button').count(), 0);
  await page.keyboard.press('Escape');
  assert.equal(await dialog.count(), 1, 'before the offer Escape does nothing');

  const abort = dialog.getByRole('button', { name: 'Abort the query' });
  await abort.waitFor();
  assert.match(await page.getByRole('status').filter({ hasText: 'You can wait or abort' }).first().textContent(), /^After \d+ seconds/);
  await page.keyboard.press('Escape');
  assert.equal(await focused(page), 'Abort the query');

  await page.keyboard.press('Escape');
  assert.equal(await focused(page), 'Asking the database');

  assert.ok(isAlive(pid));

  await page.keyboard.press('Escape');
  await page.keyboard.press('Enter');
  const took = await until('the end of the query', () => !isAlive(pid));
  await textOf(page, '#news', /^Aborted after [\d.]+ s; the database is free again\.$/);
  assert.equal(await dialog.count(), 0);
  assert.equal(await focused(page), 'Search', 'the focus is where it was');

  assert.ok(took < 2_000, `${took} ms`);
  assert.deepEqual(errors, []);
  console.log(`# the query's process was gone ${took} ms after the abort`);
});

test('of two tabs each aborts its own query', async () => {
  const one = await busyTab();
  const two = await busyTab();
  await one.page.bringToFront();
  await one.dialog.getByRole('button', { name: 'Abort the query' }).click();
  await until('the end of the first query', () => !isAlive(one.query[0]));
  assert.ok(isAlive(two.query[0]));
  await two.page.bringToFront();
  await two.dialog.getByRole('button', { name: 'Abort the query' }).click();
  await until('the end of the second query', () => !isAlive(two.query[0]));
});

test('a page that closes, or is loaded anew, ends its query', async () => {
  const one = await busyTab();
  await one.page.close();
  const took = await until('the end of the query', () => !isAlive(one.query[0]));
  console.log(`# the query's process was gone ${took} ms after its page`);
  const two = await busyTab();
  await two.page.reload();
  await until('the end of the query', () => !isAlive(two.query[0]));
});

test('a query without the server that could abort it is ended, and the page says so', async () => {
  const { page, query: [pid] } = await busyTab();
  await demo.killServer();
  await until('the end of the query', () => !isAlive(pid));
  await textOf(page, '#news', 'The WebSocket server cannot be reached.');
  await demo.restartServer();
  await page.locator('#start:enabled').waitFor();
});

test('a query whose watcher is killed ends by itself', async () => {
  const { page, query: [pid, watcher] } = await busyTab();
  process.kill(watcher, 'SIGKILL');
  await until('the end of the query', () => !isAlive(pid));
  await textOf(page, '#news', /./);
});
