<?php

/*
 * A server that does what it is told, step by step; FakeServer.php starts it and tells it.
 *
 * The script comes as a line of JSON on standard input: for each connection a list of steps, each
 * a list of a verb and its arguments (bytes in base64). It answers with a line with its port, and at
 * the end with a line of what it received.
 */

declare(strict_types=1);

require __DIR__ . '/frames.php';

final class Scripted
{
    /** @var resource */
    private $peer;
    private string $bytes = '';
    private float $deadline;
    /** @var array{request: string, frames: array<int, array{0: int, 1: string, 2: bool}>, ended: bool} */
    public array $received = ['request' => '', 'frames' => [], 'ended' => false];

    /** @param resource $peer */
    public function __construct($peer, float $deadline)
    {
        $this->peer = $peer;
        $this->deadline = $deadline;
        stream_set_blocking($peer, false);
    }

    public function request(): void
    {
        while (strpos($this->bytes, "\r\n\r\n") === false) {
            $this->more();
        }
        [$this->received['request'], $this->bytes] = explode("\r\n\r\n", $this->bytes, 2);
    }

    public function accept(string $withIt = ''): void
    {
        $this->request();
        $accept = accept_of($this->received['request']);
        $head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: $accept\r\n\r\n";
        $this->write(base64_encode($head . base64_decode($withIt)));
    }

    /** @param int $piece bytes a segment, 0 for all at once */
    public function write(string $base64, int $piece = 0): void
    {
        $bytes = base64_decode($base64);
        foreach ($piece > 0 ? str_split($bytes, $piece) : [$bytes] as $part) {
            while ($part !== '') {
                $count = @fwrite($this->peer, $part);
                if ($count === false) {
                    return;
                }
                $part = (string) substr($part, $count);
                if ($part !== '') {
                    $this->check();
                    usleep(1000);
                }
            }
            if ($piece > 0) {
                usleep(300);
            }
        }
    }

    public function expect(int $frames = 1): void
    {
        for (; $frames > 0; $frames--) {
            while (($frame = take_frame($this->bytes)) === null) {
                $this->more();
            }
            $this->received['frames'][] = [$frame['opcode'], base64_encode($frame['payload']), $frame['masked']];
        }
    }

    public function pause(float $seconds): void
    {
        usleep((int) ($seconds * 1e6));
    }

    /** Takes whatever comes until the client hangs up; its close frame is answered. */
    public function drain(bool $answerClose = true): void
    {
        try {
            while (true) {
                $this->expect();
                $frame = end($this->received['frames']);
                if ($answerClose && $frame[0] === 8) {
                    $this->write(base64_encode(server_frame(8, base64_decode($frame[1]))));
                }
            }
        } catch (RuntimeException $e) {
            $this->received['ended'] = $e->getMessage() === 'ended';
        }
    }

    private function more(): void
    {
        $chunk = @fread($this->peer, 65536);
        if ($chunk !== false && $chunk !== '') {
            $this->bytes .= $chunk;
            return;
        }
        if (stream_get_meta_data($this->peer)['eof']) {
            throw new RuntimeException('ended');
        }
        $this->check();
        $read = [$this->peer];
        $none = null;
        stream_select($read, $none, $none, 0, 100000);
    }

    private function check(): void
    {
        if (microtime(true) > $this->deadline) {
            throw new RuntimeException('too late');
        }
    }
}

$deadline = microtime(true) + 20.0;
$script = json_decode((string) fgets(STDIN), true);
$listener = stream_socket_server('tcp://127.0.0.1:0', $number, $error) ?: exit($error);
echo substr(strrchr((string) stream_socket_get_name($listener, false), ':'), 1), "\n";

$received = [];
foreach ($script as $steps) {
    $peer = @stream_socket_accept($listener, max(0.1, $deadline - microtime(true)));
    if ($peer === false) {
        break;
    }
    $scripted = new Scripted($peer, $deadline);
    try {
        foreach ($steps as $step) {
            $verb = array_shift($step);
            $scripted->$verb(...$step);
        }
    } catch (RuntimeException $e) {
        $scripted->received['ended'] = $e->getMessage() === 'ended';
    }
    fclose($peer);
    $received[] = $scripted->received;
}
echo json_encode($received), "\n";
