<?php

/*
 * A phpws process of the test's own, for tests that stop it and start it again.
 */

declare(strict_types=1);

final class Server
{
    public int $port;
    /** @var resource */
    private $process;
    private string $log;

    /**
     * @param array<int, string> $options
     * @param array<string, string> $environment
     */
    public function __construct(string $binary, int $port = 0, array $options = [], array $environment = [])
    {
        $this->log = (string) tempnam(sys_get_temp_dir(), 'phpws');
        $spec = [['file', '/dev/null', 'r'], ['file', $this->log, 'a'], ['file', $this->log, 'a']];
        $process = proc_open(array_merge([$binary], $options, ["ws://127.0.0.1:$port"]), $spec, $pipes, sys_get_temp_dir(), $environment + getenv());
        if (!is_resource($process)) {
            throw new RuntimeException("$binary does not start");
        }
        $this->process = $process;
        $deadline = microtime(true) + 10.0;
        while (preg_match('/Server initialized on .* 127\.0\.0\.1:(\d+)/', (string) file_get_contents($this->log), $found) !== 1) {
            if (microtime(true) > $deadline || !proc_get_status($process)['running']) {
                throw new RuntimeException("$binary does not come up: " . file_get_contents($this->log));
            }
            usleep(2000);
        }
        $this->port = (int) $found[1];
    }

    public function __destruct()
    {
        $this->stop(9);
        @unlink($this->log);
    }

    public function address(): string
    {
        return "ws://127.0.0.1:{$this->port}/php";
    }

    /** Sends the signal and waits until the process is gone. */
    public function stop(int $signal): void
    {
        if (!is_resource($this->process)) {
            return;
        }
        proc_terminate($this->process, $signal);
        $deadline = microtime(true) + 10.0;
        while (proc_get_status($this->process)['running'] && microtime(true) < $deadline) {
            usleep(2000);
        }
        proc_terminate($this->process, 9);
        proc_close($this->process);
    }
}
