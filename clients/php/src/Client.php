<?php

declare(strict_types=1);

namespace Phpws;

/**
 * A PHP script's end of the dialog with a phpws server.
 *
 * The server answers every packet with `{"opcode":"next"}`; each send waits for it. Packets from
 * others that come meanwhile are kept, in order, for read(). If the connection is lost while
 * sending, the client comes back (option `reconnect`) and sends again what was not acknowledged: so
 * a packet whose acknowledgement was lost may arrive twice, none that was acknowledged is ever sent
 * again, and none is lost without an exception.
 */
final class Client
{
    private const LONGEST_BACKOFF = 10.0;

    private Address $address;
    private Options $options;
    /** Null when there is no connection; then $closed says why. */
    private ?Session $session = null;
    private Exception $closed;
    private string $uuid = '';
    /** @var array<int, array<array-key, mixed>> sent but not acknowledged, oldest first */
    private array $unacknowledged = [];
    /** @var array<int, array<array-key, mixed>> received but not read, oldest first */
    private array $received = [];
    /** @var array<array-key, array<array-key, mixed>> the rooms this client is in, each with the packet that joins it */
    private array $rooms = [];

    /**
     * Connects, shakes hands and waits for `ready`.
     *
     * @param string $address `ws://host:port/php`; also wss, tcp (as ws) and ssl (as wss)
     * @param array<string, mixed> $options see Options
     * @throws ArgumentException|ConnectException|HandshakeException|TimeoutException|ClosedException
     */
    public function __construct(string $address, array $options = [])
    {
        $this->options = new Options($options);
        $this->address = new Address($address);
        $this->open();
    }

    public function __destruct()
    {
        if ($this->session !== null) {
            $this->session->close(false);
        }
    }

    /** The name the server gave this connection; a new connection has a new one. */
    public function uuid(): string
    {
        return $this->uuid;
    }

    /**
     * To the browser that has this uuid; silently nothing if it is no longer there.
     *
     * @param mixed $message whatever JSON can hold
     * @param array<string, mixed> $extra further keys of the packet
     */
    public function feedback($message, string $uuid, array $extra = []): void
    {
        if ($uuid === '') {
            throw new ArgumentException('feedback needs the uuid of a browser, but it is empty');
        }
        $this->sendFeedback($message, $uuid, '', $extra);
    }

    /**
     * To the first client, script or browser, that connected with this ident.
     *
     * @param mixed $message whatever JSON can hold
     * @param array<string, mixed> $extra further keys of the packet
     */
    public function feedbackTo($message, string $ident, array $extra = []): void
    {
        if ($ident === '') {
            throw new ArgumentException('feedbackTo needs the ident of a client, but it is empty');
        }
        $this->sendFeedback($message, '', $ident, $extra);
    }

    /**
     * To all browsers, on whatever resource; not to scripts.
     *
     * @param mixed $message whatever JSON can hold
     * @param array<string, mixed> $extra further keys of the packet
     */
    public function broadcast($message, array $extra = []): void
    {
        $this->send(['opcode' => 'broadcast', 'message' => $message] + $extra);
    }

    /**
     * To the members of a room; this client need not be one.
     *
     * @param mixed $message whatever JSON can hold
     * @param array<string, mixed> $extra further keys of the packet
     */
    public function broadcastTo($message, string $room, array $extra = []): void
    {
        $this->send(['opcode' => 'broadcast', 'room' => self::named($room), 'message' => $message] + $extra);
    }

    /**
     * Joins a room: read() gives what others broadcast to it. A new connection joins it again.
     *
     * @param string $name for the other members, where the server tells names
     * @param bool $announce whether members are told of joins and leaves; counts for who joins first
     * @return int how many members there are now
     * @throws RefusedException
     */
    public function join(string $room, string $name = '', bool $announce = false): int
    {
        $more = ($name === '' ? [] : ['name' => $name]) + ($announce ? ['announce' => true] : []);
        return (int) $this->ask(['opcode' => 'join', 'room' => self::named($room)] + $more, 'joined')['count'];
    }

    /**
     * @return int how many members remain
     * @throws RefusedException if this client is not in that room
     */
    public function leave(string $room): int
    {
        return (int) $this->ask(['opcode' => 'leave', 'room' => self::named($room)], 'left')['count'];
    }

    /**
     * Who is in a room: `count`, and `names` where the server tells names.
     *
     * @return array<array-key, mixed>
     * @throws RefusedException
     */
    public function who(string $room): array
    {
        return $this->ask(['opcode' => 'who', 'room' => self::named($room)], 'who');
    }

    /**
     * To the server and back.
     *
     * @param mixed $message whatever JSON can hold
     * @return array<array-key, mixed> the packet as it came back
     */
    public function echo($message): array
    {
        $packet = ['opcode' => 'echo', 'message' => $message];
        $expected = Json::decode(Json::encode($packet));
        $this->send($packet);

        return $this->await('echo', static function (array $packet) use ($expected): bool {
            // Loosely, since a server may have turned 1.0 into 1.
            return $packet == $expected;
        });
    }

    /**
     * Any packet; returns when the server has acknowledged it.
     *
     * @param array<string, mixed> $packet
     * @throws ArgumentException if it cannot be written as JSON
     * @throws TimeoutException if there was no acknowledgement in time; the packet stays in
     *                          unacknowledged() and must not be sent again
     * @throws Exception if the connection is closed and could not be made again; then nothing stays
     */
    public function send(array $packet): void
    {
        $text = Json::encode($packet);
        $this->unacknowledged[] = $packet;
        $attempts = $this->options->reconnect;
        try {
            if ($this->session === null) {
                $this->reopen($attempts);
            } else {
                $this->session->write($text);
            }
            while (!$this->awaitAcknowledgements()) {
                $this->reopen($attempts);
            }
        } catch (TimeoutException $e) {
            throw $e;
        } catch (Exception $e) {
            $this->unacknowledged = [];
            throw $e;
        }
    }

    /**
     * The next packet from others, null if none came within so many seconds (null: wait for ever).
     *
     * @return ?array<array-key, mixed>
     * @throws ClosedException when all that came has been read and the connection is closed
     */
    public function read(?float $timeout = null): ?array
    {
        $deadline = $timeout === null ? INF : Connection::now() + $timeout;
        while ($this->received === []) {
            if (!$this->step($deadline)) {
                return null;
            }
        }
        return array_shift($this->received);
    }

    /** Packets that were sent but, after a TimeoutException, not yet acknowledged. */
    public function unacknowledged(): int
    {
        return count($this->unacknowledged);
    }

    /** Looks whether the server is still there, as far as that can be known without asking it. */
    public function isOpen(): bool
    {
        try {
            while ($this->session !== null && $this->step(0.0)) {
                continue;
            }
        } catch (Exception $e) {
            // The next read or send says why.
        }
        return $this->session !== null;
    }

    /** Makes a closed connection anew, in as many attempts as the option `reconnect` says, at least one. */
    public function connect(): void
    {
        $attempts = max(1, $this->options->reconnect);
        if (!$this->isOpen()) {
            $this->tryToOpen($attempts);
        }
    }

    /** Says goodbye to the server; what it still sent can be read afterwards. */
    public function close(): void
    {
        $session = $this->session;
        $this->session = null;
        $this->closed = ClosedException::byThisClient();
        foreach ($session === null ? [] : $session->close() as $packet) {
            $this->place($packet);
        }
        $this->unacknowledged = [];
        $this->rooms = [];
    }

    private static function named(string $room): string
    {
        if ($room === '') {
            throw new ArgumentException('a room needs a name, but it is empty');
        }
        return $room;
    }

    /**
     * Sends a question about a room and waits for its answer.
     *
     * @param array<string, mixed> $question
     * @return array<array-key, mixed>
     */
    private function ask(array $question, string $answer): array
    {
        $this->send($question);
        $packet = $this->await("answer to {$question['opcode']}", static function (array $packet) use ($question, $answer): bool {
            $opcode = $packet['opcode'] ?? null;
            $refused = $opcode === 'refused' && ($packet['refused'] ?? null) === $question['opcode'];
            return $refused || ($opcode === $answer && ($packet['room'] ?? null) === $question['room']);
        });
        if ($packet['opcode'] === 'refused') {
            throw RefusedException::by($packet);
        }
        return $packet;
    }

    /**
     * The first packet of a kind; the others stay for read().
     *
     * @param callable(array<array-key, mixed>): bool $isIt
     * @return array<array-key, mixed>
     */
    private function await(string $what, callable $isIt): array
    {
        $deadline = Connection::now() + $this->options->timeout;
        $seen = 0;
        do {
            for (; isset($this->received[$seen]); $seen++) {
                if ($isIt($this->received[$seen])) {
                    return array_splice($this->received, $seen, 1)[0];
                }
            }
        } while ($this->step($deadline));
        throw new TimeoutException("no $what within {$this->options->timeout} seconds");
    }

    /**
     * @param mixed $message
     * @param array<string, mixed> $extra
     */
    private function sendFeedback($message, string $uuid, string $ident, array $extra): void
    {
        $this->send([
            'opcode' => 'feedback',
            'ident' => $ident,
            'uuid' => $uuid,
            'message' => $message,
            'fromUUID' => $this->uuid,
        ] + $extra);
    }

    /** False when the connection was lost and another one may help. */
    private function awaitAcknowledgements(): bool
    {
        $deadline = Connection::now() + $this->options->timeout;
        try {
            while ($this->unacknowledged !== []) {
                if (!$this->step($deadline)) {
                    throw new TimeoutException("no acknowledgement within {$this->options->timeout} seconds");
                }
            }
            return true;
        } catch (ClosedException $e) {
            return false;
        }
    }

    /** Takes one packet from the server and puts it where it belongs; false when the deadline has passed. */
    private function step(float $deadline): bool
    {
        if ($this->session === null) {
            throw $this->closed;
        }
        try {
            $packet = $this->session->next($deadline);
        } catch (Exception $e) {
            $this->session = null;
            $this->closed = $e;
            throw $e;
        }
        if ($packet !== null) {
            $this->place($packet);
        }
        return $packet !== null;
    }

    /** @param array<array-key, mixed> $packet */
    private function place(array $packet): void
    {
        if (($packet['opcode'] ?? null) === 'next') {
            $this->acknowledged(array_shift($this->unacknowledged) ?? []);
            return;
        }
        if (($packet['opcode'] ?? null) === 'refused' && ($packet['refused'] ?? null) === 'join') {
            unset($this->rooms[(string) ($packet['room'] ?? '')]);
        }
        $this->received[] = $packet;
    }

    /** @param array<array-key, mixed> $packet */
    private function acknowledged(array $packet): void
    {
        $room = $packet['room'] ?? null;
        if (is_string($room) && ($packet['opcode'] ?? null) === 'join') {
            $this->rooms[$room] = $packet;
        } elseif (is_string($room) && ($packet['opcode'] ?? null) === 'leave') {
            unset($this->rooms[$room]);
        }
    }

    /** A new connection is in no room: what joins them goes out first. */
    private function rejoin(): void
    {
        foreach ($this->rooms as $packet) {
            if (!in_array($packet, $this->unacknowledged, true)) {
                array_unshift($this->unacknowledged, $packet);
            }
        }
    }

    private function open(): void
    {
        $former = $this->uuid;
        $this->session = Session::open($this->address, $this->options);
        $this->uuid = $this->session->uuid();
        $this->rejoin();
        foreach ($this->unacknowledged as $i => $packet) {
            if ($former !== '' && ($packet['fromUUID'] ?? null) === $former) {
                $this->unacknowledged[$i]['fromUUID'] = $this->uuid;
            }
            $this->session->write(Json::encode($this->unacknowledged[$i]));
        }
    }

    /** After a loss: opens again, unless the server has made clear that this is of no use. */
    private function reopen(int &$attempts): void
    {
        $temporary = $this->closed instanceof ClosedException && $this->closed->isTemporary();
        if (!$temporary || $attempts < 1) {
            throw $this->closed;
        }
        $this->tryToOpen($attempts);
    }

    /** @param int $attempts how many are left, counted down; there is a pause before all but the first */
    private function tryToOpen(int &$attempts): void
    {
        while (true) {
            $this->pause($this->options->reconnect - $attempts);
            $attempts--;
            try {
                $this->open();
                return;
            } catch (Exception $e) {
                if ($attempts < 1 || !self::mayPass($e)) {
                    // Here a timeout is no missing acknowledgement, which a TimeoutException would say.
                    throw $e instanceof TimeoutException ? new ConnectException($e->getMessage(), 0, $e) : $e;
                }
            }
        }
    }

    private function pause(int $attemptsMade): void
    {
        if ($attemptsMade > 0) {
            $seconds = min($this->options->backoff * 2 ** ($attemptsMade - 1), self::LONGEST_BACKOFF);
            // Not all at the same moment, if many lost their server at the same moment.
            usleep((int) ($seconds * random_int(750000, 1000000)));
        }
    }

    private static function mayPass(Exception $e): bool
    {
        return $e instanceof ConnectException
            || $e instanceof TimeoutException
            || ($e instanceof HandshakeException && $e->isTemporary())
            || ($e instanceof ClosedException && $e->isTemporary());
    }
}
