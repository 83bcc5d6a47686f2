<?php

declare(strict_types=1);

namespace Phpws;

/**
 * One connection from its handshake to its end: packets in and out, pings answered, closing done.
 *
 * It says nothing about `next`: which packet is an acknowledgement, and what becomes of packets
 * when the connection ends, is the Client's business.
 */
final class Session
{
    /** Seconds for the peer to answer a close frame, or to hang up after it said `close`. */
    private const LAST_WORDS = 1.0;
    private const LONGEST_BODY = 4096;

    private Connection $connection;
    private Inbox $inbox;
    /** @var array<array-key, mixed> */
    private array $ready = [];
    /** What a `{"opcode":"close"}` said, null as long as none came. */
    private ?string $error = null;
    /** An endpoint sends one close frame; what answers it is not answered. */
    private bool $saidClose = false;
    /** @var array<int, array<array-key, mixed>> what came before `ready` */
    private array $early = [];

    private function __construct(Connection $connection, Options $options)
    {
        $this->connection = $connection;
        $this->inbox = new Inbox($options->max_message);
    }

    /**
     * @param string $query further parameters of the resource
     * @param float $latest a deadline before that of the option `timeout`
     * @throws ConnectException|HandshakeException|TimeoutException|ClosedException|ProtocolException
     */
    public static function open(Address $address, Options $options, string $query = '', float $latest = INF): self
    {
        $handshake = new Handshake($address, $options->ident, $options->headers, $query);
        $deadline = min(Connection::now() + $options->timeout, $latest);
        $session = new self(Connection::open($address, $deadline, $options->ssl), $options);
        $session->shakeHands($handshake, $deadline);
        $session->awaitReady($deadline);
        return $session;
    }

    public function uuid(): string
    {
        return $this->ready['uuid'];
    }

    /** @return array<array-key, mixed> what the server said first */
    public function ready(): array
    {
        return $this->ready;
    }

    public function write(string $text): void
    {
        $this->connection->queue((new Frame(Frame::TEXT, $text))->encode());
    }

    /**
     * The next packet, null when the deadline has passed; what was written goes out meanwhile.
     *
     * @return ?array<array-key, mixed>
     * @throws ClosedException|ProtocolException when there will be no further packet
     */
    public function next(float $deadline): ?array
    {
        if ($this->early !== []) {
            return array_shift($this->early);
        }
        try {
            return $this->receive($deadline);
        } catch (ProtocolException $e) {
            $this->sayClose($e->closeCode(), $e->getMessage());
            $this->connection->close();
            throw $e;
        }
    }

    /**
     * Ends the connection as section 7.1.2 asks: close frame, the peer's close frame, end of TCP.
     *
     * @return array<int, array<array-key, mixed>> packets that still came
     */
    public function close(bool $wait = true): array
    {
        $packets = [];
        $deadline = Connection::now() + self::LAST_WORDS;
        try {
            $this->sayClose(ClosedException::NORMAL);
            while ($wait && ($packet = $this->next($deadline)) !== null) {
                $packets[] = $packet;
            }
        } catch (Exception $e) {
            // The end was wanted: however it comes about, it has come.
        }
        $this->connection->close();
        return $packets;
    }

    private function shakeHands(Handshake $handshake, float $deadline): void
    {
        $this->connection->queue($handshake->request());
        $answer = '';
        while (preg_match('/\r?\n\r?\n/', $answer, $found, PREG_OFFSET_CAPTURE) !== 1) {
            if (!$this->connection->exchange($deadline)) {
                $this->giveUp('did not answer the handshake');
            }
            $answer .= $this->connection->take();
            if ($this->connection->hasEnded() || strlen($answer) > Handshake::LONGEST_HEAD) {
                break;
            }
        }
        if ($answer === '') {
            throw new HandshakeException('the server hung up instead of answering the handshake', 0, '', true);
        }
        [$blank, $end] = $found[0] ?? ['', strlen($answer)];
        $head = substr($answer, 0, $end);
        $rest = (string) substr($answer, $end + strlen($blank));
        if (!Handshake::switches($head)) {
            $rest = $this->body($rest, $deadline);
        } elseif ($blank === '') {
            throw new HandshakeException('the 101 has no end', 101);
        }
        $handshake->check($head, $rest);
        $this->inbox->feed($rest);
    }

    /** The rest of a refusal: the server closes after it, so its end is awaited, briefly. */
    private function body(string $body, float $deadline): string
    {
        $deadline = min($deadline, Connection::now() + self::LAST_WORDS);
        while (strlen($body) < self::LONGEST_BODY && !$this->connection->hasEnded()) {
            if (!$this->connection->exchange($deadline)) {
                break;
            }
            $body .= $this->connection->take();
        }
        return $body;
    }

    private function awaitReady(float $deadline): void
    {
        $early = [];
        while (($packet = $this->next($deadline)) !== null) {
            if (($packet['opcode'] ?? null) === 'ready' && is_string($packet['uuid'] ?? null)) {
                $this->ready = $packet;
                $this->early = $early;
                return;
            }
            $early[] = $packet;
        }
        $this->giveUp('took the handshake, but did not say "ready"');
    }

    /** @return ?array<array-key, mixed> */
    private function receive(float $deadline): ?array
    {
        for ($late = false; ; $late = !$this->connection->exchange($deadline)) {
            $this->inbox->feed($this->connection->take());
            while (($frame = $this->inbox->next()) !== null) {
                $packet = $this->packet($frame);
                if ($packet === null) {
                    continue;
                }
                if (($packet['opcode'] ?? null) !== 'close') {
                    return $packet;
                }
                // Its close frame says how it is meant, so even who only polls waits for that.
                $this->error = is_string($packet['error'] ?? null) ? $packet['error'] : '';
                $deadline = Connection::now() + self::LAST_WORDS;
                $late = false;
            }
            if ($this->connection->hasEnded()) {
                $this->end(ClosedException::LOST, '');
            }
            if ($late) {
                break;
            }
        }
        if ($this->error !== null) {
            $this->end(ClosedException::LOST, '');
        }
        return null;
    }

    /** @return ?array<array-key, mixed> null for a control frame, which is answered here */
    private function packet(Frame $frame): ?array
    {
        switch ($frame->opcode) {
            case Frame::TEXT:
                return Json::decode($frame->payload);
            case Frame::PING:
                $this->connection->queue((new Frame(Frame::PONG, $frame->payload))->encode());
                return null;
            case Frame::PONG:
                return null;
            case Frame::CLOSE:
                $this->answerClose($frame->payload);
                return null;
            default:
                throw new ProtocolException('the server sent a binary message; packets are text', 1003);
        }
    }

    private function answerClose(string $payload): void
    {
        if (strlen($payload) === 1) {
            throw new ProtocolException('the server sent a close frame with half a code');
        }
        // 1005: "no status code was present" (section 7.4.1); such a frame is answered by such a frame.
        $code = $payload === '' ? 1005 : unpack('n', $payload)[1];
        if ($payload !== '' && !self::mayBeSent($code)) {
            throw new ProtocolException("the server sent a close frame with the code $code, which means nothing");
        }
        $reason = (string) substr($payload, 2);
        if (preg_match('//u', $reason) !== 1) {
            throw new ProtocolException('the server sent a close frame with bad UTF-8', 1007);
        }
        $payload === '' ? $this->sayClose(null) : $this->sayClose($code);
        $this->end($code, $reason);
    }

    /** Section 7.4: 1004, 1005, 1006 and 1015 never stand in a frame. */
    private static function mayBeSent(int $code): bool
    {
        return ($code >= 1000 && $code <= 1014 && !in_array($code, [1004, 1005, 1006], true))
            || ($code >= 3000 && $code <= 4999);
    }

    private function sayClose(?int $code, string $reason = ''): void
    {
        if ($this->saidClose) {
            return;
        }
        $this->saidClose = true;
        $payload = $code === null ? '' : Frame::closePayload($code, $reason);
        $this->connection->queue((new Frame(Frame::CLOSE, $payload))->encode());
        $this->connection->exchange(Connection::now());
    }

    /** @throws ClosedException always */
    private function end(int $code, string $reason): void
    {
        $this->connection->close();
        throw new ClosedException($code, $reason, $this->error);
    }

    /** @throws TimeoutException always */
    private function giveUp(string $what): void
    {
        $this->connection->close();
        throw new TimeoutException("the server $what in time");
    }
}
