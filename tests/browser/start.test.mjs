/* The script behind `make demo`: starts everything, prints one URL, leaves nothing behind. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { freePort, until } from './demo.mjs';
import { demoPath } from './server.mjs';

const script = resolve(import.meta.dirname, '../../clients/php/demo/start.sh');

/** Runs the script until it ends or says something that matches. */
async function start(args, env = {}) {
  const child = spawn(script, args, { env: { ...process.env, PHPWS_DEMO: demoPath, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const run = { child, said: '', ended: once(child, 'exit') };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => { run.said += text; });
  }
  await until('a word of it', () => /Open http/.test(run.said) || child.exitCode !== null);
  return run;
}

const answers = (url) => fetch(url).then((response) => response.ok, () => false);

for (const signal of ['SIGINT', 'SIGTERM']) {
  test(`it prints one URL, and ${signal} ends both servers`, async () => {
    const [ws, web] = [await freePort(), await freePort()];
    const run = await start([`ws://127.0.0.1:${ws}`, `127.0.0.1:${web}`]);
    const [, url, data] = /^Open (http:\S+) in two tabs\. Logs are in (\S+) /.exec(run.said);
    assert.equal(url, `http://127.0.0.1:${web}/`);
    assert.deepEqual([await answers(url), await answers(`http://127.0.0.1:${ws}/`), existsSync(data)], [true, true, true]);
    run.child.kill(signal);
    assert.deepEqual(await run.ended, [signal === 'SIGINT' ? 0 : 143, null]);
    assert.equal(run.said.trim().split('\n').length, 1, run.said);
    assert.deepEqual([await answers(url), await answers(`http://127.0.0.1:${ws}/`), existsSync(data)], [false, false, false]);
  });
}

test('a port that is taken is named, and nothing is started', async () => {
  const [ws, web] = [await freePort(), await freePort()];
  const first = await start([`ws://127.0.0.1:${ws}`, `127.0.0.1:${web}`]);
  const second = await start([`ws://127.0.0.1:${ws}`, `127.0.0.1:${await freePort()}`]);
  assert.deepEqual(await second.ended, [1, null]);
  assert.match(second.said, new RegExp(`^demo: 127.0.0.1:${ws} is taken; choose another: .*\n$`));
  first.child.kill('SIGTERM');
  await first.ended;
});

test('when one of the two ends, so does the other, and the log is shown', async () => {
  const [ws, web] = [await freePort(), await freePort()];
  const run = await start([`wss://127.0.0.1:${ws}`, `127.0.0.1:${web}`]);
  assert.deepEqual(await run.ended, [1, null]);
  assert.match(run.said, /it has no certificate; choose an address that begins with ws:/);
  assert.equal(await answers(`http://127.0.0.1:${web}/`), false);
});

test('without PHP it says what to install', async () => {
  const run = await start([], { PHP: '/nowhere/php' });
  assert.deepEqual(await run.ended, [1, null]);
  assert.equal(run.said, 'demo: PHP 8.1 or later with SQLite is missing: apt-get install php-cli php-sqlite3\n');
});
