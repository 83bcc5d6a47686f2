<?php

/*
 * A script that other scripts reach by name; start it first, then sender.php beside it.
 *
 *     php receiver.php [ADDRESS]
 */

declare(strict_types=1);

require __DIR__ . '/../src/autoload.php';

$address = $argv[1] ?? (getenv('PHPWS_ADDRESS') ?: 'ws://127.0.0.1:8095/php');
$server = new Phpws\Client($address, ['ident' => 'receiver']);
echo "waiting as \"receiver\"\n";

while (true) {
    try {
        $packet = $server->read();
        echo json_encode($packet['message'] ?? null, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES), "\n";
    } catch (Phpws\ClosedException $e) {
        // Only a send comes back by itself; who waits decides on its own.
        echo $e->getMessage(), "; connecting again\n";
        $server->connect();
    }
}
