/*
 * What the tests of a file begin with and end: a server or the demo, a browser, and a context for all
 * tests or for each. The names are live, they have their values once a test runs; Node runs each file
 * in a process of its own.
 */
import { after, afterEach, before, beforeEach } from 'node:test';
import { openContext, startBrowser } from './browser.mjs';
import { startDemo } from './demo.mjs';
import { startServer } from './server.mjs';

export let browser, context, demo, server;

let oneContext = false;

async function openBrowser() {
  browser = await startBrowser();
  if (oneContext) {
    context = await openContext(browser);
  }
}

export function useBrowser() {
  before(openBrowser);
  after(() => browser?.close());
}

/** A server, and a browser; `options` are those of the server. */
export function useServer(options = {}) {
  before(async () => {
    server = await startServer(options);
    await openBrowser();
  });
  after(async () => {
    await browser?.close();
    await server?.kill();
  });
}

/** The server again on its port, once it has ended. */
export async function restartServer(options) {
  server = await startServer({ ...options, port: server.port });
}

/** The three applications, and a browser. */
export function useDemo(options) {
  before(async () => {
    demo = await startDemo(options);
    await openBrowser();
  });
  after(async () => {
    await browser?.close();
    await demo?.end();
  });
}

/** One context for all tests. */
export function useContext() {
  oneContext = true;
}

/** A context for each test. */
export function useContextEach() {
  beforeEach(async () => { context = await openContext(browser); });
  afterEach(() => context.close());
}
