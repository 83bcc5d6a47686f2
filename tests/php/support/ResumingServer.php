<?php

/*
 * Starts resuming_server.php with a plan and hands out its address and, afterwards, what it did.
 */

declare(strict_types=1);

final class ResumingServer
{
    public string $address;
    /** @var resource */
    private $process;
    /** @var array<int, resource> */
    private array $pipes = [];

    /** @param array<int, int> $cuts the numbers of the frames after which the connection breaks */
    public function __construct(array $cuts)
    {
        $process = proc_open([PHP_BINARY, __DIR__ . '/resuming_server.php'], [['pipe', 'r'], ['pipe', 'w']], $this->pipes);
        if (!is_resource($process)) {
            throw new RuntimeException('the resuming server does not start');
        }
        $this->process = $process;
        fwrite($this->pipes[0], json_encode(['cuts' => $cuts], JSON_THROW_ON_ERROR) . "\n");
        $this->address = 'ws://127.0.0.1:' . trim((string) fgets($this->pipes[1])) . '/php';
    }

    public function __destruct()
    {
        proc_terminate($this->process, 9);
        proc_close($this->process);
    }

    /** @return array{acted: array<int, array<string, mixed>>, requests: array<int, string>} when the client has closed */
    public function did(): array
    {
        $line = (string) fgets($this->pipes[1]);
        $did = json_decode($line, true);
        if (!is_array($did)) {
            throw new RuntimeException("the resuming server broke down: $line");
        }
        return $did;
    }
}
