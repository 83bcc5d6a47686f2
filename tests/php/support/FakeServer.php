<?php

/*
 * Starts fake_server.php with a script and hands out its address and, afterwards, what it received.
 */

declare(strict_types=1);

require_once __DIR__ . '/frames.php';

final class FakeServer
{
    public string $address;
    /** @var resource */
    private $process;
    /** @var array<int, resource> */
    private array $pipes = [];

    /** @param array<int, array<int, array<int, mixed>>> $connections for each the steps, see fake_server.php */
    public function __construct(array ...$connections)
    {
        $spec = [['pipe', 'r'], ['pipe', 'w']];
        $process = proc_open([PHP_BINARY, __DIR__ . '/fake_server.php'], $spec, $this->pipes);
        if (!is_resource($process)) {
            throw new RuntimeException('the fake server does not start');
        }
        $this->process = $process;
        fwrite($this->pipes[0], json_encode($connections, JSON_THROW_ON_ERROR) . "\n");
        $this->address = 'ws://127.0.0.1:' . trim((string) fgets($this->pipes[1])) . '/php';
    }

    public function __destruct()
    {
        if (is_resource($this->process)) {
            proc_terminate($this->process, 9);
            proc_close($this->process);
        }
    }

    /** A connection that got as far as `ready`; further steps follow. */
    public static function ready(string $uuid = 'own-uuid'): array
    {
        return ['accept', base64_encode(packet_frame(['opcode' => 'ready', 'uuid' => $uuid]))];
    }

    public static function bytes(string ...$bytes): array
    {
        return ['write', base64_encode(implode('', $bytes))];
    }

    public static function next(): string
    {
        return packet_frame(['opcode' => 'next', 'fyi' => '']);
    }

    /**
     * Waits for the end of the script.
     *
     * @return array<int, array{request: string, frames: array<int, array{0: int, 1: string, 2: bool}>, ended: bool}>
     */
    public function received(): array
    {
        $received = json_decode((string) fgets($this->pipes[1]), true);
        if (!is_array($received)) {
            throw new RuntimeException('the fake server broke down');
        }
        foreach ($received as $i => $connection) {
            foreach ($connection['frames'] as $j => $frame) {
                $received[$i]['frames'][$j][1] = base64_decode($frame[1]);
            }
        }
        return $received;
    }

    /**
     * The packets of one connection, control frames left out.
     *
     * @return array<int, array<string, mixed>>
     */
    public static function packets(array $connection): array
    {
        $packets = [];
        foreach ($connection['frames'] as [$opcode, $payload]) {
            if ($opcode === 1) {
                $packets[] = json_decode($payload, true);
            }
        }
        return $packets;
    }
}
