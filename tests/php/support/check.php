<?php

/*
 * The smallest thing that tests need: test() runs one, same() and throws() judge, finish() counts.
 *
 * Any warning, notice or deprecation of PHP fails the test in which it appears.
 */

declare(strict_types=1);

error_reporting(E_ALL);
set_error_handler(static function (int $level, string $text, string $file, int $line): bool {
    if ((error_reporting() & $level) === 0) {
        return false;
    }
    throw new ErrorException($text, 0, $level, $file, $line);
});

final class Failure extends Exception
{
}

final class Tally
{
    public static int $passed = 0;
    public static int $failed = 0;
}

/** No script of these tests takes longer: it is ended, and that is a failure. */
function time_limit(int $seconds): void
{
    if (function_exists('pcntl_alarm')) {
        pcntl_async_signals(true);
        pcntl_signal(SIGALRM, static function () use ($seconds): void {
            fwrite(STDOUT, "FAILED  the script took longer than $seconds s\n");
            Tally::$failed++;
            finish();
        });
        pcntl_alarm($seconds);
    }
}

function test(string $name, callable $body): void
{
    $start = microtime(true);
    try {
        $body();
        Tally::$passed++;
        $took = microtime(true) - $start;
        printf("ok      %s%s\n", $name, $took > 1.0 ? sprintf(' (%.1f s)', $took) : '');
    } catch (Throwable $e) {
        Tally::$failed++;
        $where = $e instanceof Failure ? $e->getTrace()[0] : ['file' => $e->getFile(), 'line' => $e->getLine()];
        $kind = $e instanceof Failure ? '' : get_class($e) . ': ';
        printf("FAILED  %s\n        %s%s\n        at %s:%d\n", $name, $kind, $e->getMessage(), $where['file'] ?? '?', $where['line'] ?? 0);
    }
}

/** @param mixed $value */
function shown($value): string
{
    $text = var_export($value, true);
    return strlen($text) > 300 ? substr($text, 0, 300) . '… (' . strlen($text) . ' characters)' : $text;
}

/**
 * @param mixed $expected
 * @param mixed $actual
 */
function same($expected, $actual, string $what = 'the value'): void
{
    if ($expected !== $actual) {
        throw new Failure("$what should be " . shown($expected) . ' but is ' . shown($actual));
    }
}

function holds(bool $condition, string $what): void
{
    if (!$condition) {
        throw new Failure("not so: $what");
    }
}

/** Runs the body, demands that exception, and hands it back. */
function throws(string $class, callable $body, string $containing = ''): Throwable
{
    try {
        $body();
    } catch (Throwable $e) {
        if (!$e instanceof $class) {
            throw new Failure("$class was expected, but " . get_class($e) . ' came: ' . $e->getMessage());
        }
        if ($containing !== '' && strpos($e->getMessage(), $containing) === false) {
            throw new Failure("\"{$e->getMessage()}\" should contain \"$containing\"");
        }
        return $e;
    }
    throw new Failure("$class was expected, but nothing was thrown");
}

function finish(): void
{
    printf("%d passed, %d failed\n", Tally::$passed, Tally::$failed);
    exit(Tally::$failed === 0 && Tally::$passed > 0 ? 0 : 1);
}
