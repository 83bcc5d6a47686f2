<?php

/*
 * Reads the way PHP clients in the field do, on purpose: one frame a read.
 *
 * The 101 is read in steps of 1,024 bytes up to its blank line, and whatever came behind that is
 * thrown away; `ready` is what one further read of 1,024 bytes gives; from then on each read of up
 * to 8,192 bytes gives its first frame, and the rest of it is thrown away. After 2 seconds without
 * data the client takes itself for disconnected.
 */

declare(strict_types=1);

require_once __DIR__ . '/frames.php';
require_once __DIR__ . '/Wire.php';

final class NaiveClient
{
    public bool $connected = false;
    public string $uuid = '';
    /** What went wrong, for the test's message. */
    public string $trouble = '';
    /** @var resource */
    private $stream;

    public function __construct(string $address, string $ident = '', string $cafile = '')
    {
        [$endpoint, $secure] = Wire::endpoint($address);
        $context = stream_context_create(['ssl' => ['cafile' => $cafile, 'peer_name' => Wire::host($address), 'SNI_enabled' => false]]);
        $stream = @stream_socket_client(($secure ? 'ssl://' : 'tcp://') . $endpoint, $number, $error, 30.0, STREAM_CLIENT_CONNECT, $context);
        if ($stream === false) {
            $this->trouble = "no connection: $error";
            return;
        }
        $this->stream = $stream;
        stream_set_timeout($stream, 2);
        fwrite($stream, implode("\r\n", [
            'GET /php HTTP/1.1',
            "Host: $endpoint",
            'Upgrade: websocket',
            'Connection: Upgrade',
            'Sec-WebSocket-Key: ' . base64_encode(random_bytes(16)),
            "Origin: http://$endpoint",
            'Sec-WebSocket-Version: 13',
            'Client-Type: php',
            "Ident: $ident",
            '',
            '',
        ]));
        $answer = '';
        while (strpos($answer, "\r\n\r\n") === false) {
            $part = fread($stream, 1024);
            if ($part === '' || $part === false) {
                $this->trouble = 'no 101';
                return;
            }
            $answer .= $part;
        }
        $ready = json_decode($this->firstFrame((string) fread($stream, 1024)), true);
        if (($ready['opcode'] ?? '') !== 'ready') {
            $behind = strlen($answer) - strpos($answer, "\r\n\r\n") - 4;
            $this->trouble = "no ready in the read behind the 101 ($behind bytes came with the 101 and are lost)";
            return;
        }
        $this->uuid = $ready['uuid'];
        $this->connected = true;
    }

    /** What one read gives: the payload of its first frame; '' if nothing came within 2 s. */
    public function read(): string
    {
        $bytes = (string) fread($this->stream, 8192);
        return $bytes === '' ? '' : $this->firstFrame($bytes);
    }

    /** Writes, reads once, and takes what came for the acknowledgement. */
    public function talk(array $packet): string
    {
        fwrite($this->stream, client_frame(1, json_encode($packet)));
        return $this->read();
    }

    public function close(): void
    {
        fwrite($this->stream, client_frame(8, ''));
        fclose($this->stream);
    }

    private function firstFrame(string $bytes): string
    {
        if (strlen($bytes) < 2) {
            return '';
        }
        $length = ord($bytes[1]) & 127;
        $at = 2;
        if ($length > 125) {
            $at += $length === 126 ? 2 : 8;
            $length = (int) hexdec(bin2hex(substr($bytes, 2, $at - 2)));
        }
        $payload = (string) substr($bytes, $at, $length);
        while (strlen($payload) < $length) {
            $part = fread($this->stream, min(8192, $length - strlen($payload)));
            if ($part === '' || $part === false) {
                return '';
            }
            $payload .= $part;
        }
        return $payload;
    }
}
