<?php

/*
 * What every script of these tests begins with: the checks, the helpers of this folder, the client, and
 * the words that the script is given.
 */

declare(strict_types=1);

require __DIR__ . '/check.php';
require_once __DIR__ . '/frames.php';
require __DIR__ . '/../../../clients/php/src/autoload.php';

// The other helpers are classes in files of their name.
spl_autoload_register(static function (string $class): void {
    if (is_file(__DIR__ . "/$class.php")) {
        require __DIR__ . "/$class.php";
    }
});

/**
 * The command line by the names that its usage has, and how long the script may take: `ADDRESS [CAFILE]` gives
 * two values, the second of them empty where it is left out. ADDRESS loses its path, PHPWS is a program. Where
 * something is missing the script says how it is called, and ends.
 *
 * @param array<int, string>|null $words those of the command line, but for options
 * @return array<int, string>
 */
function given(string $names, int $seconds, ?array $words = null): array
{
    $words = $words ?? array_slice($_SERVER['argv'], 1);
    $given = [];
    foreach (explode(' ', $names) as $at => $name) {
        $word = $words[$at] ?? '';
        $isOptional = $name[0] === '[';
        if (!$isOptional && ($word === '' || ($name === 'PHPWS' && !is_executable($word)))) {
            fwrite(STDERR, 'Usage: ' . basename($_SERVER['argv'][0]) . " $names\n");
            exit(2);
        }
        $given[] = $name === 'ADDRESS' ? Wire::root($word) : $word;
    }
    time_limit($seconds);
    return $given;
}
