<?php

/*
 * Takes the server's notices of who came and who went, and keeps a table of who is connected.
 *
 *     export PHPWS_NOTIFY_SECRET=$(openssl rand -hex 32)
 *     php -S 127.0.0.1:8000 -t clients/php/examples &
 *     phpws --notify-url http://127.0.0.1:8000/notices.php
 *
 * Other pages of the shop ask the same table: (new ClientTable($pdo))->isConnected($uuid).
 */

declare(strict_types=1);

require __DIR__ . '/../src/autoload.php';

use Phpws\ClientTable;
use Phpws\NoticeException;
use Phpws\Notices;

try {
    $notices = Notices::fromRequest((string) getenv('PHPWS_NOTIFY_SECRET'));
} catch (NoticeException $e) {
    error_log('notices: ' . $e->getMessage());
    http_response_code(403);
    return;
}

try {
    $pdo = new PDO(getenv('PHPWS_NOTICES_DSN') ?: 'sqlite:' . sys_get_temp_dir() . '/phpws-clients.sqlite');
    $table = new ClientTable($pdo);
    $table->install();
    $table->apply($notices);
    http_response_code(204);
} catch (PDOException $e) {
    // The server sends the same again until it is taken.
    error_log('notices: ' . $e->getMessage());
    http_response_code(500);
}
