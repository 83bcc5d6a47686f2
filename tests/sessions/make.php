<?php

/*
 * Writes the session files that stand beside this script, which tests/all/sessions/ reads, with PHP's
 * own session module. Needs PHP 8.1 or later. After
 *
 *     php tests/sessions/make.php
 *
 * git must show no difference: the files are what PHP writes.
 */

declare(strict_types=1);

enum Suit: string
{
    case Hearts = 'h';
    case Spades = 's';
}

class Order
{
    public float $total = 19.99;
    protected array $lines = ['a|b' => 1, 7 => null];
    private string $allowconnect = 'private';
    public ?Order $previous = null;
}

/** The old interface: PHP writes such objects with a C, in a format of their own. */
class Old implements Serializable
{
    public function serialize(): string
    {
        return '};allowconnect|b:1;{';
    }

    public function unserialize($data): void
    {
    }
}

/** What a shop might keep, with all that could be taken for a key or an end. */
function contents(): array
{
    $order = new Order();
    $order->previous = new Order();
    $shared = 'grüße';
    return [
        'größe' => 'Größe "42" | ½ € {;}',
        'text' => "|allowconnect|b:0;\";}\0\n",
        'numbers' => [0, -1, PHP_INT_MIN, 0.1, -0.0, 1.0E+25, 1e-7, INF, -INF, NAN],
        'nested' => ['allowconnect' => false, 'deep' => [[], [['allowconnect' => 'no']]], 'null' => null],
        'order' => $order,
        'again' => $order,
        'suit' => Suit::Hearts,
        'suits' => [Suit::Hearts, Suit::Spades],
        'one' => &$shared,
        'other' => &$shared,
        'list' => new ArrayObject(['x' => 1]),
        'since' => new DateTimeImmutable('2026-11-01 09:05:00', new DateTimeZone('Europe/Berlin')),
        'old' => new Old(),
        'user' => (object) ['allowconnect' => false, 'name' => 'Jürgen'],
    ];
}

function write(string $id, string $handler, array $contents): void
{
    ini_set('session.serialize_handler', $handler);
    session_id($id);
    session_start();
    $_SESSION = $contents;
    session_write_close();
}

// PHP speaks of the old interface; and what is printed before session_start is in its way.
error_reporting(E_ALL & ~E_DEPRECATED);
ini_set('session.save_path', $argv[1] ?? __DIR__);
ini_set('session.use_cookies', '0');
ini_set('session.use_strict_mode', '0');
ini_set('session.cache_limiter', '');
ini_set('session.gc_probability', '0');
ini_set('serialize_precision', '-1');

foreach (['php' => 'php', 'php-serialize' => 'php_serialize'] as $id => $handler) {
    write($id, $handler, contents() + ['allowconnect' => true]);
    write("$id-first", $handler, ['allowconnect' => true] + contents());
    write("$id-false", $handler, contents() + ['allowconnect' => false]);
    write("$id-never", $handler, contents());
}
write('php-binary', 'php_binary', contents() + ['allowconnect' => true]);
