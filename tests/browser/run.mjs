/*
 * Runs the browser tests and ends, whatever happens: says what is missing before anything starts,
 * and gives the whole run a deadline.
 */
import { existsSync } from 'node:fs';
import { spawn, spawnSync } from 'node:child_process';
import { chromiumPath } from './browser.mjs';
import { demoPath, phpwsPath } from './server.mjs';

const ONE_FILE = 4 * 60_000;
const WHOLE_RUN = 8 * 60_000;

const php = spawnSync('php', ['-r', 'exit(PHP_VERSION_ID >= 80100 && extension_loaded("sqlite3") ? 0 : 1);']);

const missing = [
  [existsSync(chromiumPath), 'Chromium is missing: apt-get install chromium'],
  [existsSync(phpwsPath), 'phpws is not built: cargo build --release, or name it in PHPWS_BIN'],
  [existsSync(demoPath), 'The demo is not built: cargo build --release --example demo, or name it in PHPWS_DEMO'],
  [php.status === 0, 'PHP 8.1 or later with SQLite is missing: apt-get install php-cli php-sqlite3'],
].find(([there]) => !there);

if (missing) {
  console.error(missing[1]);
  process.exit(1);
}

const args = ['--test', '--test-reporter=spec', '--test-concurrency=1', `--test-timeout=${ONE_FILE}`];
const tests = spawn(process.execPath, [...args, ...process.argv.slice(2)], {
  cwd: import.meta.dirname,
  stdio: 'inherit',
});
const deadline = setTimeout(() => {
  console.error(`The browser tests did not end within ${WHOLE_RUN / 1000} s`);
  tests.kill('SIGTERM');
}, WHOLE_RUN);
tests.on('exit', (code) => {
  clearTimeout(deadline);
  process.exitCode = code ?? 1;
});
