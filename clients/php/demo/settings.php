<?php

/* Tells a page where the WebSocket server is, as socketWebClient takes it. */

declare(strict_types=1);

namespace Phpws\Demo;

require_once __DIR__ . '/backend.php';

answer(static function (): array {
    $port = parse_url(getenv('PHPWS_ADDRESS') ?: 'ws://127.0.0.1:8095', PHP_URL_PORT);
    return ['address' => getenv('PHPWS_PUBLIC_ADDRESS') ?: ':' . ($port ?: 80)];
});
