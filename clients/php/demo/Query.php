<?php

declare(strict_types=1);

namespace Phpws\Demo;

/**
 * A query in a process of its own. PHP cannot interrupt SQLite while it works, but a process can be
 * ended from outside at any time; and it ends by itself when this one is gone, whatever the reason,
 * since its standard input ends then.
 */
final class Query
{
    private const KILL = 9; // SIGKILL; the constant's extension is not everywhere

    /** @var resource */
    private $process;
    /** @var array<int, resource> */
    private array $pipes = [];
    private string $output = '';

    /** @param list<string> $command the program and its arguments; no shell is involved */
    public function __construct(array $command)
    {
        // What it has to complain of goes where our own complaints go.
        $process = proc_open($command, [['pipe', 'r'], ['pipe', 'w']], $this->pipes);
        if (!is_resource($process)) {
            throw new \RuntimeException("cannot start $command[0]");
        }
        $this->process = $process;
        stream_set_blocking($this->pipes[1], false);
        // Destructors do not run after a fatal error, such as a time limit; this does.
        register_shutdown_function($this->end(...));
    }

    /** Whether it is still at work; takes in what it wrote meanwhile. */
    public function isRunning(): bool
    {
        $running = proc_get_status($this->process)['running'];
        $this->output .= stream_get_contents($this->pipes[1]);
        return $running;
    }

    /** What it wrote until it had ended. */
    public function output(): string
    {
        return $this->output;
    }

    /** Ends it at once, if it has not ended yet, and waits for that. */
    public function end(): void
    {
        if (!is_resource($this->process)) {
            return;
        }
        proc_terminate($this->process, self::KILL);
        array_map(fclose(...), $this->pipes);
        proc_close($this->process);
    }
}
