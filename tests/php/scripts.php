<?php

/*
 * The command line script and the examples, run as a user runs them.
 *
 *     php scripts.php ADDRESS [CAFILE]
 *
 * The examples know no CAFILE and are run over ws:// only.
 */

declare(strict_types=1);

require __DIR__ . '/support/head.php';

[$root, $cafile] = given('ADDRESS [CAFILE]', 60);

const PACKAGE = __DIR__ . '/../../clients/php';

/** A script under way, its output in pipes. */
final class Script
{
    /** @var array<int, resource> */
    public array $pipes = [];
    /** @var resource */
    private $process;

    public function __construct(array $command, array $environment = [])
    {
        $spec = [['file', '/dev/null', 'r'], ['pipe', 'w'], ['pipe', 'w']];
        $process = proc_open(array_merge([PHP_BINARY], $command), $spec, $this->pipes, null, $environment + getenv());
        if (!is_resource($process)) {
            throw new RuntimeException('no process');
        }
        $this->process = $process;
    }

    public function __destruct()
    {
        $this->kill();
    }

    /** @return array{0: int, 1: string, 2: string} exit code, standard output, standard error */
    public function end(): array
    {
        $output = (string) stream_get_contents($this->pipes[1]);
        $errors = (string) stream_get_contents($this->pipes[2]);
        return [proc_close($this->process), $output, $errors];
    }

    public function kill(): void
    {
        if (is_resource($this->process)) {
            proc_terminate($this->process, 9);
            proc_close($this->process);
        }
    }
}

test('simulate-backend tells the browser how far it is', static function () use ($root, $cafile): void {
    $page = new BrowserClient($root, '/web', $cafile);
    $command = [PACKAGE . '/bin/simulate-backend.php', $page->uuid, "$root/php", '--steps', '4', '--pause=0.01'];
    $script = new Script($cafile === '' ? $command : array_merge($command, ['--cafile', $cafile]));
    same(['doing some work', 'step 1 of 4', 'step 2 of 4', 'step 3 of 4', 'step 4 of 4', 'done'], $page->messages(6, 10.0));
    same([0, "told {$page->uuid} about 4 steps\n", ''], $script->end());
});
test('simulate-backend explains itself when called without a UUID or wrongly', static function (): void {
    foreach ([[], ['--help'], ['u', '--steps'], ['u', '--steps', 'x'], ['u', 'a', 'b'], ['u', '--pause', '-1']] as $words) {
        [$code, $output, $errors] = (new Script(array_merge([PACKAGE . '/bin/simulate-backend.php'], $words)))->end();
        same([2, ''], [$code, $output], 'exit code and output');
        holds(strpos($errors, 'Usage: simulate-backend.php UUID') !== false, "the usage is shown: $errors");
    }
});
test('simulate-backend fails in one line where there is no server', static function (): void {
    [$code, $output, $errors] = (new Script([PACKAGE . '/bin/simulate-backend.php', 'u', 'ws://127.0.0.1:1/php']))->end();
    same([1, '', 1], [$code, $output, substr_count($errors, "\n")], "code, output and lines of: $errors");
});

if (!Wire::endpoint($root)[1]) {
    test('receiver.php prints what sender.php sends', static function () use ($root): void {
        $receiver = new Script([PACKAGE . '/examples/receiver.php', "$root/php"]);
        same("waiting as \"receiver\"\n", fgets($receiver->pipes[1]));
        same([0, "sent 3 messages\n", ''], (new Script([PACKAGE . '/examples/sender.php', "$root/php"]))->end());
        foreach (['"a text"', '{"order":4711,"paid":true}', '"grüße"'] as $line) {
            same("$line\n", fgets($receiver->pipes[1]));
        }
    });
    test('publish.php tells the page how far it is, over HTTP', static function () use ($root): void {
        $page = new BrowserClient($root, '/web');
        $address = (string) preg_replace('#^ws:#', 'http:', $root);
        [$code, $output, $errors] = (new Script([PACKAGE . '/examples/publish.php', $page->uuid, $address]))->end();
        same([0, "0 %: delivered\n20 %: delivered\n", ''], [$code, substr($output, 0, 31), $errors]);
        same(array_fill(0, 6, 'working'), $page->messages(6, 5.0));
        [$code, , $errors] = (new Script([PACKAGE . '/examples/publish.php', 'no-such-uuid', $address]))->end();
        same([1, "nobody has that uuid (HTTP status 404)\n"], [$code, $errors]);
    });
    test('broadcast.php tells all browsers', static function () use ($root): void {
        $pages = [new BrowserClient($root), new BrowserClient($root, '/')];
        same([0, '', ''], (new Script([PACKAGE . '/examples/broadcast.php', 'grüße', "$root/php"]))->end());
        foreach ($pages as $page) {
            same(['grüße'], $page->messages(1, 5.0));
        }
        same(2, (new Script([PACKAGE . '/examples/broadcast.php']))->end()[0], 'the exit code without a text');
    });
    test('backend.php feeds back while the AJAX call is under way, and answers with JSON', static function () use ($root): void {
        $listener = stream_socket_server('tcp://127.0.0.1:0');
        $web = (string) stream_socket_get_name($listener, false);
        fclose($listener);
        $site = new Script(['-S', $web, '-t', PACKAGE . '/examples'], ['PHPWS_ADDRESS' => "$root/php"]);
        while (strpos((string) fgets($site->pipes[2]), 'started') === false) {
            continue;
        }
        $page = new BrowserClient($root);
        $ask = static function (string $body) use ($web): array {
            $context = stream_context_create(['http' => ['method' => 'POST', 'content' => $body, 'header' => 'Content-Type: application/json', 'ignore_errors' => true, 'timeout' => 10.0]]);
            $answer = fopen("http://$web/backend.php", 'r', false, $context);
            $status = explode(' ', stream_get_meta_data($answer)['wrapper_data'][0])[1];
            return [$status, json_decode((string) stream_get_contents($answer), true)];
        };
        same(['200', ['uuid' => $page->uuid, 'order' => 4711]], $ask(json_encode(['uuid' => $page->uuid, 'order' => 4711])));
        $messages = $page->messages(12, 5.0);
        same(['doing some work', '10 %', '100 %', 'done', 12], [$messages[0], $messages[1], $messages[10], $messages[11], count($messages)]);
        foreach (['', 'x', '{}', '{"uuid":""}', '{"uuid":["a"]}'] as $body) {
            same('400', $ask($body)[0], "the status for $body");
        }
    });
}

finish();
