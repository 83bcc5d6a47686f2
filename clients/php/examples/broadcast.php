<?php

/*
 * Tells all browsers something.
 *
 *     php broadcast.php TEXT [ADDRESS]
 */

declare(strict_types=1);

require __DIR__ . '/../src/autoload.php';

if (!isset($argv[1])) {
    fwrite(STDERR, "Usage: broadcast.php TEXT [ADDRESS]\n");
    exit(2);
}
$address = $argv[2] ?? (getenv('PHPWS_ADDRESS') ?: 'ws://127.0.0.1:8095/php');
$server = new Phpws\Client($address);
$server->broadcast($argv[1]);
$server->close();
