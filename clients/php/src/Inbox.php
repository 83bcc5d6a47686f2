<?php

declare(strict_types=1);

namespace Phpws;

/**
 * Bytes in, messages and control frames out; it knows no socket.
 *
 * However the bytes are cut, the same stream gives the same messages: feed() what came, then take
 * next() until it answers null, which means "more bytes, please" and is no error. After a
 * ProtocolException the inbox is of no more use.
 */
final class Inbox
{
    private int $maxMessage;
    private string $bytes = '';
    /** Bytes of the buffer that were already taken; cut off once per feed(), not once per frame. */
    private int $taken = 0;
    /** The fragmented message under way: its opcode (null: none) and what of it has come. */
    private ?int $opcode = null;
    private string $message = '';

    /** @param int $maxMessage in bytes, 0 for any */
    public function __construct(int $maxMessage = 0)
    {
        $this->maxMessage = $maxMessage > 0 ? $maxMessage : PHP_INT_MAX;
    }

    public function feed(string $bytes): void
    {
        if ($this->taken > 0) {
            $this->bytes = (string) substr($this->bytes, $this->taken);
            $this->taken = 0;
        }
        $this->bytes .= $bytes;
    }

    /**
     * The next whole message (as one final frame) or control frame.
     *
     * @throws ProtocolException
     */
    public function next(): ?Frame
    {
        while (($frame = $this->frame()) !== null) {
            $complete = $frame->isControl() ? $frame : $this->assemble($frame);
            if ($complete !== null) {
                return $complete;
            }
        }
        return null;
    }

    private function frame(): ?Frame
    {
        $there = strlen($this->bytes) - $this->taken;
        if ($there < 2) {
            return null;
        }
        $first = ord($this->bytes[$this->taken]);
        $second = ord($this->bytes[$this->taken + 1]);
        $this->checkHead($first, $second);

        $length = $second & 0x7F;
        $head = 2 + ([126 => 2, 127 => 8][$length] ?? 0);
        if ($there < $head) {
            return null;
        }
        if ($length > 125) {
            $length = $this->longLength($length);
        }
        $this->checkSize($first & 0x0F, $length);
        if ($there < $head + $length) {
            return null;
        }
        $payload = (string) substr($this->bytes, $this->taken + $head, $length);
        $this->taken += $head + $length;
        return new Frame($first & 0x0F, $payload, ($first & 0x80) !== 0);
    }

    private function checkHead(int $first, int $second): void
    {
        $opcode = $first & 0x0F;
        $known = [Frame::CONTINUATION, Frame::TEXT, Frame::BINARY, Frame::CLOSE, Frame::PING, Frame::PONG];
        if (($first & 0x70) !== 0) {
            throw new ProtocolException('the server set reserved bits of a frame, though no extension was agreed');
        }
        if (!in_array($opcode, $known, true)) {
            throw new ProtocolException("the server sent a frame of the reserved opcode $opcode");
        }
        // "A client MUST close a connection if it detects a masked frame" (section 5.1).
        if (($second & 0x80) !== 0) {
            throw new ProtocolException('the server sent a masked frame');
        }
        if ($opcode >= Frame::CLOSE && (($first & 0x80) === 0 || $second > Frame::LONGEST_CONTROL)) {
            throw new ProtocolException('the server sent a control frame in fragments or of more than 125 bytes');
        }
    }

    /** "the minimal number of bytes MUST be used to encode the length" (section 5.2) */
    private function longLength(int $form): int
    {
        if ($form === 126) {
            $length = unpack('n', $this->bytes, $this->taken + 2)[1];
            if ($length < 126) {
                throw new ProtocolException('the server wrote a length in a form longer than it needs');
            }
            return $length;
        }
        ['high' => $high, 'low' => $low] = unpack('Nhigh/Nlow', $this->bytes, $this->taken + 2);
        if (($high & 0x80000000) !== 0) {
            throw new ProtocolException('the server sent a length with its highest bit set');
        }
        if ($high === 0 && $low >= 0 && $low <= 0xFFFF) {
            throw new ProtocolException('the server wrote a length in a form longer than it needs');
        }
        // Where an int has 32 bits such a length is beyond any message; the limit then refuses it.
        return PHP_INT_SIZE > 4 ? ($high << 32) + $low : ($high === 0 && $low >= 0 ? $low : PHP_INT_MAX);
    }

    private function checkSize(int $opcode, int $length): void
    {
        $before = $opcode === Frame::CONTINUATION ? strlen($this->message) : 0;
        if ($opcode < Frame::CLOSE && $length > $this->maxMessage - $before) {
            throw new ProtocolException("the server sent a message of more than {$this->maxMessage} bytes", 1009);
        }
    }

    private function assemble(Frame $frame): ?Frame
    {
        if ($frame->opcode === Frame::CONTINUATION && $this->opcode === null) {
            throw new ProtocolException('the server continued a message that it had not begun');
        }
        if ($frame->opcode !== Frame::CONTINUATION && $this->opcode !== null) {
            throw new ProtocolException('the server began a message inside another one');
        }
        if ($this->opcode === null && $frame->fin) {
            return $frame;
        }
        $this->opcode = $this->opcode ?? $frame->opcode;
        $this->message .= $frame->payload;
        if (!$frame->fin) {
            return null;
        }
        $whole = new Frame($this->opcode, $this->message);
        $this->opcode = null;
        $this->message = '';
        return $whole;
    }
}
