<?php

/*
 * A line between a client and a server that breaks when it is told; Proxy.php starts it and tells it.
 *
 * It answers with a line with its port. On standard input then comes a word a line, each answered by a line:
 * `cut` breaks what is connected and accepts nobody until `pass`; `break` only breaks.
 */

declare(strict_types=1);

$listener = stream_socket_server('tcp://127.0.0.1:0', $number, $error) ?: exit($error);
echo substr(strrchr((string) stream_socket_get_name($listener, false), ':'), 1), "\n";
$passes = true;
/** @var array<int, array{0: resource, 1: resource}> $pairs each end with its other one, by its number */
$pairs = [];

$hangUp = static function (int $id) use (&$pairs): void {
    [$one, $other] = $pairs[$id];
    unset($pairs[(int) $one], $pairs[(int) $other]);
    fclose($one);
    fclose($other);
};
while (true) {
    $read = array_merge([STDIN, $listener], array_column($pairs, 0));
    $none = null;
    stream_select($read, $none, $none, null);
    if (in_array(STDIN, $read, true)) {
        $word = fgets(STDIN);
        if ($word === false) {
            exit(0);
        }
        $passes = trim($word) !== 'cut';
        while (trim($word) !== 'pass' && $pairs !== []) {
            $hangUp(array_key_first($pairs));
        }
        echo "done\n";
        continue;
    }
    if (in_array($listener, $read, true)) {
        $client = stream_socket_accept($listener);
        $server = $passes ? stream_socket_client("tcp://127.0.0.1:{$argv[1]}") : false;
        if ($server === false) {
            fclose($client);
        } else {
            $pairs[(int) $client] = [$client, $server];
            $pairs[(int) $server] = [$server, $client];
        }
        continue;
    }
    foreach ($read as $end) {
        if (!isset($pairs[(int) $end])) {
            continue; // its other end has hung up
        }
        $bytes = @fread($end, 65536);
        if ($bytes === false || $bytes === '' || @fwrite($pairs[(int) $end][1], $bytes) === false) {
            $hangUp((int) $end);
        }
    }
}
