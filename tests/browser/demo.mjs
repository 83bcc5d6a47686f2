/*
 * Starts the three applications for one test: phpws with their resources, and PHP's built-in web
 * server with their pages and backends. Also looks at the processes that run the long queries.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { demoPath, startServer } from './server.mjs';

const PATIENCE = 15_000;
const root = resolve(import.meta.dirname, '../..');

/** Asks again and again until the answer is true; gives the milliseconds that it took. */
export async function until(what, ask) {
  const begin = performance.now();
  while (!await ask()) {
    if (performance.now() - begin > PATIENCE) {
      throw new Error(`waited in vain for ${what}`);
    }
    await new Promise((done) => { setTimeout(done, 10); });
  }
  return Math.round(performance.now() - begin);
}

/** Starts both; `pause` is how many milliseconds a step of pretended work takes. */
export async function startDemo({ pause = 60 } = {}) {
  let server = await startServer({ program: demoPath });
  const data = mkdtempSync(join(tmpdir(), 'phpws-demo-'));
  const port = await freePort();
  const php = spawn('php', ['-S', `127.0.0.1:${port}`, '-t', 'clients/web', 'clients/php/demo/router.php'], {
    cwd: root,
    detached: true, // a group of its own, since its workers outlive it otherwise
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      ...process.env,
      PHPWS_ADDRESS: `ws://${server.host}`,
      PHPWS_DEMO_DATA: data,
      PHPWS_DEMO_PAUSE: String(pause),
      PHP_CLI_SERVER_WORKERS: '6',
    },
  });
  let log = '';
  php.stderr.setEncoding('utf8').on('data', (text) => { log = (log + text).slice(-20_000); });
  const ended = once(php, 'exit');
  const kill = () => process.kill(-php.pid, 'SIGKILL');
  process.on('exit', kill);
  const url = `http://127.0.0.1:${port}/demo/`;
  await until('PHP’s web server', () => fetch(url).then((answer) => answer.ok, () => false));
  return {
    url,
    log: () => log,
    /** The queries at work, as [process, the PHP process that watches it]. */
    queries: () => queriesBelow(php.pid),
    killServer: () => server.kill(),
    async restartServer() {
      server = await startServer({ program: demoPath, port: server.port });
    },
    async end() {
      kill();
      await ended;
      process.off('exit', kill);
      await server.kill();
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/** A port that nobody listens on; PHP's web server cannot choose one itself. */
export async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  listener.close();
  await once(listener, 'close');
  return port;
}

function queriesBelow(master) {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    const isQuery = read(pid, 'cmdline').includes('rvk_query.php');
    const parent = isQuery ? parentOf(pid) : 0;
    return isQuery && (parent === master || parentOf(parent) === master) ? [[Number(pid), parent]] : [];
  });
}

/** Whether a process is at work: neither gone nor waiting to be buried. */
export function isAlive(pid) {
  return /^\d+ \(.*\) [^ZX]/.test(read(pid, 'stat'));
}

function parentOf(pid) {
  return Number(/^\d+ \(.*\) \S (\d+)/.exec(read(pid, 'stat'))?.[1]);
}

function read(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return ''; // it has just ended
  }
}
