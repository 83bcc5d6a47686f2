/*
 * Starts Chromium and opens the page of a server in tabs that remember every console error and
 * every violation of the page's content security policy.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

export const chromiumPath = process.env.PHPWS_CHROMIUM ?? '/usr/bin/chromium';

const PATIENCE = 15_000;

const folder = process.env.PHPWS_SCREENSHOTS;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const SIZES = {
  phone: { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true },
  desktop: { viewport: { width: 1280, height: 800 } },
};

/** A browser with a user data folder of its own, which goes away with it. */
export function startBrowser() {
  return chromium.launch({
    executablePath: chromiumPath,
    timeout: 30_000,
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
      '--ignore-certificate-errors',
    ],
  });
}

export async function openContext(browser, options = {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  context.setDefaultTimeout(PATIENCE);
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      console.error(`content security policy: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  return context;
}

/** Opens a tab; `errors` fills up while it is open. */
export async function openTab(context, url) {
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') {
      errors.push(message.text());
    }
  });
  await page.goto(url);
  return { page, errors };
}

/** Waits until the text of an element matches, and returns it. */
export async function textOf(page, selector, pattern) {
  const element = page.locator(selector).filter({ hasText: pattern });
  await element.waitFor({ state: 'attached' });
  return element.textContent();
}

/** Waits for the connection and returns its uuid. */
export async function connected(page) {
  await page.locator('#status[data-state=ready]').waitFor();
  return textOf(page, '#uuid', /^[0-9a-f-]{36}$/);
}

/** Says something from a tab, in front: Chromium lets tabs behind others wait for seconds. */
export async function say(page, text) {
  await page.bringToFront();
  await page.fill('#say', text);
  await page.click('#send');
}

/** What axe's rules find wrong with a page; nothing at best. */
export async function violations(page) {
  await page.evaluate(axe);
  const { violations: found } = await page.evaluate(() => globalThis.axe.run());
  return found.map(({ id, nodes }) => [id, ...nodes.map((node) => node.html)]);
}

/** How many pixels a page is wider than its window. */
export function overflow(page) {
  return page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - innerWidth));
}

/** Writes a screenshot, if a folder for them is named. */
export async function shoot(page, name, fullPage = true) {
  if (folder) {
    mkdirSync(folder, { recursive: true });
    await page.screenshot({ path: join(folder, `${name}.png`), fullPage });
  }
}
