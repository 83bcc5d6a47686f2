<?php

/*
 * Sends a few messages to the script that waits as "receiver", see receiver.php.
 *
 *     php sender.php [ADDRESS]
 */

declare(strict_types=1);

require __DIR__ . '/../src/autoload.php';

$address = $argv[1] ?? (getenv('PHPWS_ADDRESS') ?: 'ws://127.0.0.1:8095/php');
$server = new Phpws\Client($address);

$server->feedbackTo('a text', 'receiver');
$server->feedbackTo(['order' => 4711, 'paid' => true], 'receiver');
$server->feedbackTo('grüße', 'receiver', ['urgent' => true]);
$server->close();
echo "sent 3 messages\n";
