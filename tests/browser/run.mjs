/*
 * Runs the browser tests and ends, whatever happens: says what is missing before anything starts,
 * and gives the whole run a deadline.
 */
import { existsSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { chromiumPath } from './browser.mjs';
import { phpwsPath } from './server.mjs';

const ONE_FILE = 4 * 60_000;
const WHOLE_RUN = 8 * 60_000;

const missing = [
  [chromiumPath, 'Chromium is missing: apt-get install chromium'],
  [phpwsPath, 'phpws is not built: cargo build --release, or name it in PHPWS_BIN'],
].find(([path]) => !existsSync(path));

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
