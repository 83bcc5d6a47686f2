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
 *
 * With the option `resume` the client comes back while reading too, as the one that it was, if the
 * server has kept it: then packets arrive once, and what was sent to it meanwhile is read.
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
    /** Null where the server does not resume. */
    private ?Numbering $numbering = null;
    /** Null unless a connection was lost, and nothing has come since. */
    private ?Absence $absence = null;
    /** Whether there was a connection before. */
    private bool $returns = false;
    private string $resumed = 'new';
    private ?int $missed = 0;
    private int $resumes = 0;

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

    /** The name the server gave this connection; a new connection has a new one, unless it resumed. */
    public function uuid(): string
    {
        return $this->uuid;
    }

    /** The number of the last message that came, 0 where the server does not resume. */
    public function lastSeq(): int
    {
        return $this->numbering === null ? 0 : $this->numbering->seq();
    }

    /**
     * How this connection began: `new`; `resumed`, nothing is missing; `gap`, messages are missing;
     * `lost`, the client came back as a new one, with a new uuid.
     */
    public function lastResume(): string
    {
        return $this->resumed;
    }

    /** How many messages a `gap` left out; null if that is not known, as after `lost`. */
    public function missed(): ?int
    {
        return $this->missed;
    }

    /** How often the client came back: who reads in a loop sees by it that lastResume() is news. */
    public function resumes(): int
    {
        return $this->resumes;
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
            // Loosely, since a server may have turned 1.0 into 1. It may bear numbers.
            return array_diff_key($packet, ['seq' => 0, 'at' => 0, 'cseq' => 0]) == $expected;
        });
    }

    /**
     * Any packet; returns when the server has acknowledged it.
     *
     * @param array<string, mixed> $packet
     * @throws ArgumentException if it cannot be written as JSON
     * @throws TimeoutException if there was no acknowledgement in time; the packet stays in
     *                          unacknowledged() and must not be sent again
     * @throws ResumeException if the client could not come back in time; then nothing stays
     * @throws Exception if the connection is closed and could not be made again; then nothing stays
     */
    public function send(array $packet): void
    {
        $text = $this->text($packet, count($this->unacknowledged));
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
            $this->giveUp();
            throw $e;
        }
    }

    /**
     * The next packet from others, null if none came within so many seconds (null: wait for ever).
     *
     * With the option `resume` a try to come back that has begun may take longer, by `timeout` at most.
     *
     * @return ?array<array-key, mixed>
     * @throws ClosedException when all that came has been read and the connection is closed
     * @throws ResumeException if the client could not come back in time; a later call tries again
     */
    public function read(?float $timeout = null): ?array
    {
        $deadline = $timeout === null ? INF : Connection::now() + $timeout;
        while ($this->received === []) {
            if (!$this->advance($deadline)) {
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

    /**
     * Makes a closed connection anew, in as many attempts as the option `reconnect` says, at least one;
     * with `resume` in as many as there is time for.
     */
    public function connect(): void
    {
        $attempts = max(1, $this->options->reconnect);
        if ($this->isOpen()) {
            return;
        }
        $this->options->resume ? $this->tryToReturn(INF) : $this->tryToOpen($attempts);
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
        $this->numbering = null;
        $this->absence = null;
        $this->returns = false;
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
            // Of a join that was sent twice the refusal comes before the acknowledgement.
            if ($question['opcode'] === 'join') {
                unset($this->rooms[$question['room']]);
            }
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
        } while ($this->advance($deadline));
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

    /** As step(); with the option `resume` the client comes back after a loss, as far as the deadline permits. */
    private function advance(float $deadline): bool
    {
        while (true) {
            try {
                return $this->step($deadline);
            } catch (ClosedException $e) {
                if (!$this->options->resume) {
                    throw $e;
                }
            }
            if (!$this->comeBack($deadline)) {
                return false;
            }
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
            if ($e instanceof ClosedException && $e->endsSession()) {
                $this->numbering = null;
            }
            throw $e;
        }
        if ($packet !== null) {
            $this->absence = null;
            $this->place($packet);
        }
        return $packet !== null;
    }

    /** @param array<array-key, mixed> $packet */
    private function place(array $packet): void
    {
        if ($this->numbering !== null && !$this->numbering->isNew($packet)) {
            return;
        }
        if (($packet['opcode'] ?? null) === 'next') {
            $this->acknowledged(array_shift($this->unacknowledged));
            return;
        }
        if (($packet['opcode'] ?? null) === 'refused' && ($packet['refused'] ?? null) === 'join') {
            unset($this->rooms[(string) ($packet['room'] ?? '')]);
        }
        $this->received[] = $this->numbering === null ? $packet : self::unwrapped($packet);
    }

    /**
     * A list, which only applications of one's own send, as it would have come without a number. Text
     * that is no JSON stays in its packet.
     *
     * @param array<array-key, mixed> $packet
     * @return array<array-key, mixed>
     */
    private static function unwrapped(array $packet): array
    {
        if (($packet['opcode'] ?? null) === 'text' && is_string($packet['text'] ?? null)) {
            try {
                return Json::decode($packet['text']);
            } catch (ProtocolException $e) {
                return $packet;
            }
        }
        return $packet;
    }

    /** @param ?array<array-key, mixed> $packet null if the server acknowledges what was not sent */
    private function acknowledged(?array $packet): void
    {
        if ($packet === null) {
            return;
        }
        if ($this->numbering !== null) {
            $this->numbering->acknowledged();
        }
        $room = $packet['room'] ?? null;
        if (is_string($room) && ($packet['opcode'] ?? null) === 'join') {
            $this->rooms[$room] = $packet;
        } elseif (is_string($room) && ($packet['opcode'] ?? null) === 'leave') {
            unset($this->rooms[$room]);
        }
    }

    private function giveUp(): void
    {
        if ($this->numbering !== null) {
            $this->numbering->acknowledged(count($this->unacknowledged));
        }
        $this->unacknowledged = [];
    }

    /**
     * @param array<array-key, mixed> $packet
     * @param int $ahead how many are sent but not acknowledged before it
     */
    private function text(array $packet, int $ahead): string
    {
        return Json::encode($this->numbering === null ? $packet : $this->numbering->numbered($packet, $ahead));
    }

    /** A new client is in no room: what joins them goes out first. */
    private function rejoin(): void
    {
        foreach ($this->rooms as $packet) {
            if (!in_array($packet, $this->unacknowledged, true)) {
                array_unshift($this->unacknowledged, $packet);
            }
        }
    }

    private function open(float $latest = INF): void
    {
        $former = $this->uuid;
        $known = $this->numbering === null ? 'resume=' : $this->numbering->query();
        $this->session = Session::open($this->address, $this->options, $this->options->resume ? $known : '', $latest);
        $this->uuid = $this->session->uuid();
        if (!$this->isStill($this->session->ready())) {
            $this->rejoin();
        }
        foreach ($this->unacknowledged as $i => $packet) {
            if ($former !== '' && ($packet['fromUUID'] ?? null) === $former) {
                $this->unacknowledged[$i]['fromUUID'] = $this->uuid;
            }
            $this->session->write($this->text($this->unacknowledged[$i], $i));
        }
    }

    /**
     * Whether the server has kept this client; else it is a new one.
     *
     * @param array<array-key, mixed> $ready
     */
    private function isStill(array $ready): bool
    {
        $still = $this->numbering !== null && $this->numbering->goesOn($ready);
        if (!$still) {
            $this->numbering = $this->options->resume ? Numbering::begun($ready) : null;
        }
        $this->resumed = $still ? $ready['resume'] : ($this->returns ? 'lost' : 'new');
        $this->missed = in_array($this->resumed, ['new', 'resumed'], true) ? 0 : null;
        if ($this->resumed === 'gap' && is_int($ready['lost'] ?? null)) {
            $this->missed = $ready['lost'];
        }
        $this->resumes += $this->returns ? 1 : 0;
        $this->returns = true;
        return $still;
    }

    /** After a loss: opens again, unless the server has made clear that this is of no use. */
    private function reopen(int &$attempts): void
    {
        if ($this->options->resume) {
            $this->comeBack(INF);
            return;
        }
        $temporary = $this->closed instanceof ClosedException && $this->closed->isTemporary();
        if (!$temporary || $attempts < 1) {
            throw $this->closed;
        }
        $this->tryToOpen($attempts);
    }

    /** After a loss, with the option `resume`: false if the deadline comes first, and a later call goes on. */
    private function comeBack(float $deadline): bool
    {
        if (!self::mayPass($this->closed)) {
            throw $this->closed;
        }
        return $this->tryToReturn($deadline);
    }

    private function tryToReturn(float $deadline): bool
    {
        if ($this->absence === null || $this->absence->isPast()) {
            $this->absence = new Absence($this->options->resume_within, $this->options->backoff);
        }
        $why = $this->closed;
        while (!$this->absence->isOver()) {
            if (!$this->absence->awaitTry($deadline)) {
                return false;
            }
            try {
                $this->open($this->absence->until());
                $this->absence->back();
                return true;
            } catch (Exception $e) {
                if (!self::mayPass($e)) {
                    $this->absence = null;
                    throw $e;
                }
                $why = $e;
            }
        }
        $this->absence = null;
        $within = $this->options->resume_within;
        throw new ResumeException("the connection was lost, and not back within $within seconds: {$why->getMessage()}", 0, $why);
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
