<?php

/*
 * A WebSocket client as a browser is one: no Client-Type, an Origin, masked frames, pings answered.
 * It is strict about the server's frames, and shares no code with the client under test.
 */

declare(strict_types=1);

require_once __DIR__ . '/frames.php';
require_once __DIR__ . '/Wire.php';

final class BrowserClient
{
    public string $uuid;
    private Wire $wire;
    /** @var array<int, string> texts that came while another was awaited */
    private array $kept = [];

    public function __construct(string $address, string $resource = '/web', string $cafile = '', string $ident = '')
    {
        $this->wire = new Wire($address, $cafile);
        [$endpoint] = Wire::endpoint($address);
        $request = "GET $resource HTTP/1.1\r\nHost: $endpoint\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
            . "Origin: http://127.0.0.1\r\nUser-Agent: test\r\nSec-WebSocket-Version: 13\r\n"
            . 'Sec-WebSocket-Key: ' . base64_encode(random_bytes(16)) . "\r\n" . ($ident === '' ? '' : "Ident: $ident\r\n") . "\r\n";
        $this->wire->write($request);
        $deadline = microtime(true) + 10.0;
        while (strpos($this->wire->bytes, "\r\n\r\n") === false) {
            if (!$this->wire->more($deadline)) {
                throw new RuntimeException('no answer to the handshake: ' . $this->wire->bytes);
            }
        }
        [$head, $this->wire->bytes] = explode("\r\n\r\n", $this->wire->bytes, 2);
        if (strpos($head, 'HTTP/1.1 101 ') !== 0 || strpos($head, 'Sec-WebSocket-Accept: ' . accept_of($request)) === false) {
            throw new RuntimeException("no proper 101: $head");
        }
        $ready = json_decode($this->text(10.0) ?? '', true);
        if (($ready['opcode'] ?? '') !== 'ready') {
            throw new RuntimeException('no ready: ' . json_encode($ready));
        }
        $this->uuid = $ready['uuid'];
    }

    /** The next text as it came; null if there is none in time, or the server has closed. */
    public function text(float $seconds): ?string
    {
        if ($this->kept !== []) {
            return array_shift($this->kept);
        }
        $deadline = microtime(true) + $seconds;
        do {
            while (($frame = take_frame($this->wire->bytes)) !== null) {
                if ($frame['masked'] || $frame['reserved'] !== 0 || !$frame['fin']) {
                    throw new RuntimeException('the server sent a frame that is masked, reserved or in fragments');
                }
                if ($frame['opcode'] === 1) {
                    return $frame['payload'];
                }
                $this->control($frame['opcode'], $frame['payload']);
            }
        } while ($this->wire->more($deadline));
        return null;
    }

    /** @return ?array<string, mixed> the next packet */
    public function packet(float $seconds): ?array
    {
        $text = $this->text($seconds);
        return $text === null ? null : json_decode($text, true, 512, JSON_THROW_ON_ERROR);
    }

    /** @return array<int, string> the messages of so many packets, fewer if they do not come in time */
    public function messages(int $count, float $seconds): array
    {
        $deadline = microtime(true) + $seconds;
        $messages = [];
        while (count($messages) < $count && ($packet = $this->packet($deadline - microtime(true))) !== null) {
            $messages[] = $packet['message'] ?? '';
        }
        return $messages;
    }

    /** Sends and waits for `next`; what else comes is kept. */
    public function send(array $packet): void
    {
        $this->wire->write(client_frame(1, json_encode($packet, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE)));
        $others = [];
        while (($text = $this->text(10.0)) !== null) {
            if ((json_decode($text, true)['opcode'] ?? '') === 'next') {
                $this->kept = array_merge($others, $this->kept);
                return;
            }
            $others[] = $text;
        }
        throw new RuntimeException('no next');
    }

    public function close(): void
    {
        $this->wire->write(client_frame(8, "\x03\xe8"));
        $this->text(2.0);
        $this->wire->close();
    }

    private function control(int $opcode, string $payload): void
    {
        if ($opcode === 9) {
            $this->wire->write(client_frame(10, $payload));
        } elseif ($opcode === 8) {
            $this->wire->ended = true;
        }
    }
}
