/*
 * Starts phpws on a free port for one test, reads the port from its log, and ends it. Knows the
 * log line and the options, nothing of the page.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const TIME_TO_START = 20_000;
const TIME_TO_END = 5_000;

const target = resolve(import.meta.dirname, '../../target');
const built = (name) => ['release', 'debug'].map((build) => join(target, build, name));
const first = (paths) => paths.find(existsSync) ?? paths[0];
export const phpwsPath = process.env.PHPWS_BIN ?? first(built('phpws'));
/** The server with the three applications. */
export const demoPath = process.env.PHPWS_DEMO ?? first(built('examples/demo'));

// A run of the tests must not be steered by settings meant for a server.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PHPWS_')));

const running = new Set();
process.on('SIGTERM', () => process.exit(1)); // so that the next line runs at a timeout as well
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** Starts a server; `url` is that of its page. `scheme` is ws or wss, port 0 a free one. */
export async function startServer({ program = phpwsPath, scheme = 'ws', port = 0, options = [] } = {}) {
  const child = spawn(program, [...options, `${scheme}://127.0.0.1:${port}`], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  running.add(child);
  const ended = once(child, 'exit').then(() => running.delete(child));
  const bound = await portOf(child);
  return {
    port: bound,
    host: `127.0.0.1:${bound}`,
    url: `${scheme === 'wss' ? 'https' : 'http'}://127.0.0.1:${bound}/`,
    async kill(signal = 'SIGKILL') {
      child.kill(signal);
      const impatience = setTimeout(() => child.kill('SIGKILL'), TIME_TO_END);
      await ended;
      clearTimeout(impatience);
    },
  };
}

function portOf(child) {
  return new Promise((found, failed) => {
    let log = '';
    const give = (outcome, value) => {
      clearTimeout(deadline);
      outcome(value);
    };
    const deadline = setTimeout(give, TIME_TO_START, failed, new Error(`phpws told no port within ${TIME_TO_START} ms`));
    child.on('error', (error) => give(failed, error));
    child.on('exit', (code) => give(failed, new Error(`phpws ended with ${code}: ${log}`)));
    // The listener stays after the port is found: an unread pipe would stop the server.
    child.stdout.setEncoding('utf8').on('data', (text) => {
      log += log.length < 10_000 ? text : '';
      const line = /Server initialized on Linux {2}127\.0\.0\.1:(\d+)/.exec(log);
      if (line) {
        give(found, Number(line[1]));
      }
    });
  });
}

/** A self-signed certificate for 127.0.0.1, as the options that make phpws use it. */
export function selfSigned() {
  const folder = mkdtempSync(join(tmpdir(), 'phpws-browser-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert,
  ], { stdio: 'pipe' });
  return ['--cert', cert, '--key', key];
}
