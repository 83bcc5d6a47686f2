<?php

/*
 * Starts line.php in front of a server, and breaks the line.
 */

declare(strict_types=1);

final class Proxy
{
    public string $address;
    /** @var resource */
    private $process;
    /** @var array<int, resource> */
    private array $pipes = [];

    public function __construct(int $port)
    {
        $process = proc_open([PHP_BINARY, __DIR__ . '/line.php', (string) $port], [['pipe', 'r'], ['pipe', 'w']], $this->pipes);
        if (!is_resource($process)) {
            throw new RuntimeException('the proxy does not start');
        }
        $this->process = $process;
        $this->address = 'ws://127.0.0.1:' . trim((string) fgets($this->pipes[1])) . '/php';
    }

    public function __destruct()
    {
        proc_terminate($this->process, 9);
        proc_close($this->process);
    }

    /** Breaks the connections; nobody gets through until pass(). */
    public function cut(): void
    {
        $this->tell('cut');
    }

    public function pass(): void
    {
        $this->tell('pass');
    }

    /** Breaks the connections, and lets new ones through. */
    public function break(): void
    {
        $this->tell('break');
    }

    private function tell(string $word): void
    {
        fwrite($this->pipes[0], "$word\n");
        fgets($this->pipes[1]);
    }
}
