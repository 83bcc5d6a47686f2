<?php

/*
 * A job that reports its progress over HTTP: it keeps no connection, and stops when nobody looks.
 *
 *     php publish.php UUID [ADDRESS]
 *
 * UUID is the page's, from its "ready". PHPWS_TOKEN is the token of a server that does not know this host.
 */

declare(strict_types=1);

require __DIR__ . '/../src/autoload.php';

use Phpws\Publisher;
use Phpws\PublishException;

if (!isset($argv[1])) {
    fwrite(STDERR, "Usage: publish.php UUID [ADDRESS]\n");
    exit(2);
}
$address = $argv[2] ?? (getenv('PHPWS_ADDRESS') ?: 'http://127.0.0.1:8095');
$publisher = new Publisher($address, ['token' => (string) getenv('PHPWS_TOKEN')]);

try {
    for ($percent = 0; $percent <= 100; $percent += 20) {
        // With a key a slow page gets the newest percentage only, not all that it missed.
        $sent = $publisher->feedback('working', $argv[1], ['progress' => $percent], 'progress');
        echo "$percent %: ", $sent['delivered'] > 0 ? 'delivered' : 'queued', "\n";
        usleep(50000);
    }
} catch (PublishException $e) {
    fwrite(STDERR, $e->getMessage() . "\n");
    exit(1);
}
