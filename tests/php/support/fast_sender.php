<?php

/*
 * Sends so many feedbacks to an ident as fast as the server acknowledges them.
 *
 *     php fast_sender.php ADDRESS IDENT COUNT [CAFILE]
 */

declare(strict_types=1);

require __DIR__ . '/../../../clients/php/src/autoload.php';

[, $address, $ident, $count] = $argv;
$server = new Phpws\Client($address, ['ssl' => isset($argv[4]) ? ['cafile' => $argv[4]] : []]);
for ($i = 0; $i < (int) $count; $i++) {
    $server->feedbackTo("message $i", $ident);
}
$server->close();
