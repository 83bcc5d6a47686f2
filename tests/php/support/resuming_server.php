<?php

/*
 * A server that resumes one client, as docs/resume.md has it, and breaks its connection where it is told;
 * ResumingServer.php starts it.
 *
 * The plan comes as a line of JSON on standard input: `cuts`, the numbers of the frames (those of the client,
 * and the server's but `ready`) after which the connection breaks. It answers with a line with its port,
 * and, when the client has closed, with a line of the packets that it acted on and the requests that it got.
 * To each packet it answers with that packet and a push of its own; each loss adds one more.
 */

declare(strict_types=1);

require __DIR__ . '/frames.php';

final class Cut extends Exception
{
}

final class Resuming
{
    /** @var array<int, array<string, mixed>> */
    public array $acted = [];
    /** @var array<int, string> */
    public array $requests = [];
    /** @var resource */
    private $peer;
    private string $bytes = '';
    /** @var array<int, int> */
    private array $cuts;
    private int $frames = 0;
    private int $seq = 0;
    private int $cseq = 0;
    private int $pushes = 0;
    /** @var array<int, string> by seq */
    private array $kept = [];

    /** @param array<int, int> $cuts */
    public function __construct(array $cuts)
    {
        $this->cuts = $cuts;
    }

    /**
     * @param resource $peer
     * @return bool whether the client has said goodbye
     */
    public function serve($peer): bool
    {
        $this->peer = $peer;
        $this->bytes = '';
        try {
            $this->welcome();
            while (($frame = $this->frame())['opcode'] !== 8) {
                $this->act(json_decode($frame['payload'], true));
            }
            fwrite($peer, server_frame(8, $frame['payload']));
            return true;
        } catch (Cut $e) {
            $this->push();
            return false;
        } finally {
            fclose($peer);
        }
    }

    private function welcome(): void
    {
        while (strpos($this->bytes, "\r\n\r\n") === false) {
            $this->more();
        }
        [$request, $this->bytes] = explode("\r\n\r\n", $this->bytes, 2);
        $this->requests[] = strtok($request, "\r");
        fwrite($this->peer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " . accept_of($request) . "\r\n\r\n");
        $back = preg_match('/[?&]resume=the-uuid&seq=(\d+)/', $request, $found) === 1;
        $seq = $back ? (int) $found[1] : 0;
        fwrite($this->peer, packet_frame(['opcode' => 'ready', 'uuid' => 'the-uuid', 'resume' => $back ? 'resumed' : 'new', 'seq' => $seq, 'keep' => 60]));
        foreach ($this->kept as $number => $text) {
            if ($number > $seq) {
                $this->write($text);
            }
        }
    }

    /** @param array<string, mixed> $packet */
    private function act(array $packet): void
    {
        $cseq = $packet['cseq'];
        if ($cseq > $this->cseq) {
            $this->cseq = $cseq;
            $this->acted[] = $packet;
            $answers = [$this->keep($packet), $this->keep(['opcode' => 'feedback', 'message' => 'push ' . $this->pushes++])];
        }
        $this->write('{"opcode":"next","fyi":""}');
        foreach ($answers ?? [] as $text) {
            $this->write($text);
        }
    }

    private function push(): void
    {
        $this->keep(['opcode' => 'feedback', 'message' => 'push ' . $this->pushes++]);
    }

    /** @param array<string, mixed> $packet */
    private function keep(array $packet): string
    {
        $packet['seq'] = $this->seq += 1;
        return $this->kept[$this->seq] = json_encode($packet, JSON_THROW_ON_ERROR);
    }

    private function write(string $text): void
    {
        fwrite($this->peer, server_frame(1, $text));
        $this->count();
    }

    /** @return array{fin: bool, reserved: int, opcode: int, masked: bool, payload: string} */
    private function frame(): array
    {
        while (($frame = take_frame($this->bytes)) === null) {
            $this->more();
        }
        if ($frame['opcode'] === 1) {
            $this->count();
        }
        return $frame;
    }

    private function count(): void
    {
        $this->frames += 1;
        if (in_array($this->frames, $this->cuts, true)) {
            throw new Cut();
        }
    }

    private function more(): void
    {
        $chunk = fread($this->peer, 65536);
        if ($chunk === false || $chunk === '') {
            throw new RuntimeException('the client has hung up without a close frame');
        }
        $this->bytes .= $chunk;
    }
}

$plan = json_decode((string) fgets(STDIN), true);
$listener = stream_socket_server('tcp://127.0.0.1:0', $number, $error) ?: exit($error);
echo substr(strrchr((string) stream_socket_get_name($listener, false), ':'), 1), "\n";
$server = new Resuming($plan['cuts']);
do {
    $peer = stream_socket_accept($listener, 20.0) ?: exit('nobody came');
    stream_set_timeout($peer, 20);
} while (!$server->serve($peer));
echo json_encode(['acted' => $server->acted, 'requests' => $server->requests]), "\n";
