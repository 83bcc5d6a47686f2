#!/usr/bin/env php
<?php

/*
 * Plays a backend on the command line: does "work" that takes a while, and tells the browser with
 * the given uuid how far it is. examples/backend.php does the same behind an AJAX call.
 */

declare(strict_types=1);

require __DIR__ . '/../src/autoload.php';

const USAGE = <<<'TEXT'
    Usage: simulate-backend.php UUID [ADDRESS] [--steps N] [--pause SECONDS] [--cafile FILE]

      UUID       of the browser that is to be told; the server gives it with "ready"
      ADDRESS    of the server; default: $PHPWS_ADDRESS or ws://127.0.0.1:8095/php
      --steps    how many steps the work has (default 10)
      --pause    how long each takes (default 0.2)
      --cafile   certificate that vouches for a wss:// server with a self-signed one

    TEXT;

/** @return array{0: string[], 1: array<string, string>} what stands alone, and the options */
function arguments(array $words): array
{
    $alone = [];
    $options = ['steps' => '10', 'pause' => '0.2', 'cafile' => ''];
    while ($words !== []) {
        $word = array_shift($words);
        if (strncmp($word, '--', 2) !== 0) {
            $alone[] = $word;
            continue;
        }
        [$name, $value] = explode('=', substr($word, 2), 2) + [1 => null];
        if (!isset($options[$name]) || ($value === null && $words === [])) {
            throw new InvalidArgumentException("unknown option, or one without its value: $word");
        }
        $options[$name] = $value ?? array_shift($words);
    }
    if (count($alone) < 1 || count($alone) > 2) {
        throw new InvalidArgumentException('the UUID is missing, or there is too much');
    }
    if (!ctype_digit($options['steps']) || !is_numeric($options['pause']) || $options['pause'] < 0) {
        throw new InvalidArgumentException('--steps and --pause want numbers');
    }
    return [$alone, $options];
}

try {
    [$alone, $options] = arguments(array_slice($argv, 1));
} catch (InvalidArgumentException $e) {
    fwrite(STDERR, $e->getMessage() . "\n\n" . USAGE);
    exit(2);
}
$uuid = $alone[0];
$address = $alone[1] ?? (getenv('PHPWS_ADDRESS') ?: 'ws://127.0.0.1:8095/php');
$steps = (int) $options['steps'];

try {
    $server = new Phpws\Client($address, ['ssl' => $options['cafile'] === '' ? [] : ['cafile' => $options['cafile']]]);
    $server->feedback('doing some work', $uuid);
    for ($step = 1; $step <= $steps; $step++) {
        usleep((int) ($options['pause'] * 1e6));
        $server->feedback("step $step of $steps", $uuid, ['progress' => intdiv(100 * $step, $steps)]);
    }
    $server->feedback('done', $uuid);
    $server->close();
} catch (Phpws\Exception $e) {
    fwrite(STDERR, 'simulate-backend: ' . $e->getMessage() . "\n");
    exit(1);
}
echo "told $uuid about $steps steps\n";
