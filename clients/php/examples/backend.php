<?php

/*
 * An AJAX endpoint that tells the page how far it is while it works.
 *
 * The page posts {"uuid": …, …} with the uuid it got from "ready", shows what comes over the
 * WebSocket meanwhile, and gets the request back as JSON at the end. To try it:
 *
 *     PHPWS_ADDRESS=ws://127.0.0.1:8095/php php -S 127.0.0.1:8000 -t clients/php/examples
 */

declare(strict_types=1);

require __DIR__ . '/../src/autoload.php';

/** @param array<string, mixed> $answer */
function answer(int $status, array $answer): void
{
    http_response_code($status);
    header('Content-Type: application/json');
    echo json_encode($answer, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PARTIAL_OUTPUT_ON_ERROR);
}

$request = json_decode((string) file_get_contents('php://input'), true);
if (!is_array($request) || !is_string($request['uuid'] ?? null) || $request['uuid'] === '') {
    answer(400, ['error' => 'a JSON object with a "uuid" is wanted']);
    return;
}

// A page that is open twice in one browser waits for the session's lock otherwise.
if (session_status() === PHP_SESSION_ACTIVE) {
    session_write_close();
}

try {
    $server = new Phpws\Client(getenv('PHPWS_ADDRESS') ?: 'ws://127.0.0.1:8095/php');
    $server->feedback('doing some work', $request['uuid']);
    for ($percent = 10; $percent <= 100; $percent += 10) {
        usleep(100000); // the work
        $server->feedback("$percent %", $request['uuid'], ['progress' => $percent]);
    }
    $server->feedback('done', $request['uuid']);
    $server->close();
} catch (Phpws\Exception $e) {
    // Whoever asks need not know the address that stands in the message.
    error_log('backend: ' . $e->getMessage());
    answer(502, ['error' => 'the WebSocket server cannot be reached']);
    return;
}
answer(200, $request);
