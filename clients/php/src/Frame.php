<?php

declare(strict_types=1);

namespace Phpws;

/** One frame as RFC 6455, section 5.2, draws it: its opcodes, and a client's way to write it. */
final class Frame
{
    public const CONTINUATION = 0;
    public const TEXT = 1;
    public const BINARY = 2;
    public const CLOSE = 8;
    public const PING = 9;
    public const PONG = 10;

    /** "All control frames MUST have a payload length of 125 bytes or less" (section 5.5). */
    public const LONGEST_CONTROL = 125;

    public bool $fin;
    public int $opcode;
    public string $payload;

    public function __construct(int $opcode, string $payload, bool $fin = true)
    {
        $this->opcode = $opcode;
        $this->payload = $payload;
        $this->fin = $fin;
    }

    public function isControl(): bool
    {
        return $this->opcode >= self::CLOSE;
    }

    /**
     * The bytes a client writes.
     *
     * "A client MUST mask all frames that it sends"; the key must not be predictable (section 5.3),
     * so it is fresh random bytes unless a test passes one.
     */
    public function encode(?string $mask = null): string
    {
        $mask = $mask ?? random_bytes(4);
        $length = strlen($this->payload);

        $head = chr(($this->fin ? 0x80 : 0) | $this->opcode);
        if ($length <= 125) {
            $head .= chr(0x80 | $length);
        } elseif ($length <= 0xFFFF) {
            $head .= chr(0x80 | 126) . pack('n', $length);
        } else {
            // Two halves, since PHP on 32 bits has no 64-bit pack.
            $head .= chr(0x80 | 127) . pack('NN', PHP_INT_SIZE > 4 ? $length >> 32 : 0, $length & 0xFFFFFFFF);
        }
        return $head . $mask . self::mask($this->payload, $mask);
    }

    /** Masking and unmasking are the same operation. */
    public static function mask(string $payload, string $mask): string
    {
        return $payload ^ str_repeat($mask, intdiv(strlen($payload) + 3, 4));
    }

    /** Payload of a close frame; the reason is cut so that it fits, never inside a character. */
    public static function closePayload(int $code, string $reason): string
    {
        $reason = substr($reason, 0, self::LONGEST_CONTROL - 2);
        while (preg_match('//u', $reason) !== 1) {
            $reason = substr($reason, 0, -1);
        }
        return pack('n', $code) . $reason;
    }
}
