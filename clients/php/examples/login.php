<?php

/*
 * A page that logs visitors in, for a server that admits nobody else (docs/sessions.md). To try it:
 *
 *     mkdir -m 700 /tmp/sessions
 *     phpws --require-session --session-path /tmp/sessions
 *     php -d session.save_path=/tmp/sessions -S 127.0.0.1:8000 -t clients
 *
 * and open http://127.0.0.1:8000/php/examples/login.php. Server and page must have the same host
 * name, here 127.0.0.1: only then does the browser send the page's cookie to the server.
 */

declare(strict_types=1);

$port = getenv('PHPWS_PORT') ?: '8095';

session_start([
    'use_strict_mode' => true, // no ids that somebody else has thought up
    'cookie_httponly' => true,
    'cookie_samesite' => 'Lax',
    'cookie_secure' => !empty($_SERVER['HTTPS']),
]);

if (($_SERVER['REQUEST_METHOD'] ?? '') === 'POST') {
    // A new id for new rights: whoever knew the old one has nothing.
    session_regenerate_id(true);
    $_SESSION = [];
    $name = $_POST['name'] ?? null;
    // A real page asks for a password, and password_verify() stands here.
    if (is_string($name) && trim($name) !== '') {
        $_SESSION['name'] = trim($name);
        $_SESSION['allowconnect'] = true;
    }
    session_write_close();
    header('Location: ' . basename(__FILE__), true, 303);
    return;
}
$name = $_SESSION['name'] ?? null;

// PHP sends the page before it writes the session, and the page connects at once: so write it now.
session_write_close();
header('Content-Type: text/html; charset=utf-8');
?>
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Login</title>
</head>
<body>
<h1>Login</h1>
<form method="post">
<?php if ($name === null): ?>
  <p>Nobody is logged in, so the server refuses this page.</p>
  <label>Name <input name="name" required maxlength="50" autocomplete="username"></label>
  <button>Log in</button>
<?php else: ?>
  <p>Logged in as <b><?= htmlspecialchars($name) ?></b>.</p>
  <button>Log out</button>
<?php endif ?>
</form>
<h2>WebSocket</h2>
<p id="status" role="status">Not connected</p>
<pre id="log"></pre>
<script type="module">
import { socketWebClient } from '../../web/socketWebClient.js';

// Whoever is not logged in is refused now and in half a minute: no point in trying again.
const client = socketWebClient(<?= json_encode(":$port") ?>, '/web', { reconnect: <?= json_encode($name !== null) ?> });
const log = (line) => document.getElementById('log').append(line, '\n');

client.setCallback('status', (text) => { document.getElementById('status').textContent = text; });
client.setCallback('readMessage', (packet) => log(`< ${JSON.stringify(packet)}`));
client.setCallback('ready', () => {
  log(`my uuid is ${client.uuid()}`);
  log('> echo');
  client.echo('Hello, server');
});
client.init();
</script>
</body>
</html>
