<?php

/*
 * Frames written and read without the client's own code, so that a mistake in it cannot hide.
 */

declare(strict_types=1);

/** As a server writes them: not masked. */
function server_frame(int $opcode, string $payload, bool $fin = true): string
{
    return frame_bytes($opcode, $payload, $fin, '');
}

/** As a client writes them: masked. */
function client_frame(int $opcode, string $payload, bool $fin = true): string
{
    return frame_bytes($opcode, $payload, $fin, random_bytes(4));
}

function frame_bytes(int $opcode, string $payload, bool $fin, string $mask): string
{
    $length = strlen($payload);
    $bit = $mask === '' ? 0 : 128;
    $head = chr(($fin ? 128 : 0) + $opcode);
    if ($length < 126) {
        $head .= chr($bit + $length);
    } elseif ($length < 65536) {
        $head .= chr($bit + 126) . chr($length >> 8) . chr($length & 255);
    } else {
        $head .= chr($bit + 127) . "\0\0\0\0" . pack('N', $length);
    }
    return $head . $mask . ($mask === '' ? $payload : unmasked($payload, $mask));
}

function unmasked(string $payload, string $mask): string
{
    $times = (int) ceil(strlen($payload) / 4);
    return $payload ^ substr(str_repeat($mask, $times), 0, strlen($payload));
}

/**
 * Takes the first frame off the bytes.
 *
 * @return ?array{fin: bool, reserved: int, opcode: int, masked: bool, payload: string} null if it is not all there
 */
function take_frame(string &$bytes): ?array
{
    if (strlen($bytes) < 2) {
        return null;
    }
    [$first, $second] = [ord($bytes[0]), ord($bytes[1])];
    $length = $second & 127;
    $at = 2;
    if ($length > 125) {
        $width = $length === 126 ? 2 : 8;
        if (strlen($bytes) < $at + $width) {
            return null;
        }
        $length = (int) hexdec(bin2hex(substr($bytes, $at, $width)));
        $at += $width;
    }
    $masked = $second >= 128;
    $mask = $masked ? substr($bytes, $at, 4) : '';
    $at += $masked ? 4 : 0;
    if (strlen($bytes) < $at + $length) {
        return null;
    }
    $payload = (string) substr($bytes, $at, $length);
    $bytes = (string) substr($bytes, $at + $length);
    return [
        'fin' => $first >= 128,
        'reserved' => ($first >> 4) & 7,
        'opcode' => $first & 15,
        'masked' => $masked,
        'payload' => $masked ? unmasked($payload, $mask) : $payload,
    ];
}

/** A packet of the server as a frame. */
function packet_frame(array $packet): string
{
    return server_frame(1, json_encode($packet, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE));
}

function accept_of(string $request): string
{
    preg_match('/^Sec-WebSocket-Key: *(\S+)/mi', $request, $found);
    return base64_encode(sha1(($found[1] ?? '') . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11', true));
}
