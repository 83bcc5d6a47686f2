<?php

declare(strict_types=1);

namespace Phpws;

/** What `new Client($address, $options)` takes beside the address. Unknown names are refused. */
final class Options
{
    /** Name under which other scripts reach this one by feedbackTo(); '' for none. */
    public string $ident = '';

    /** Seconds that connecting, the handshake, or one acknowledgement may take. */
    public float $timeout = 10.0;

    /** @var array<string, mixed> PHP's ssl context options; they override the safe defaults. */
    public array $ssl = [];

    /** @var array<string, string> Additional request headers. */
    public array $headers = [];

    /** Largest message taken from the server, in bytes, 0 for any; a longer one ends the connection (1009). */
    public int $max_message = 16777216;

    /** Attempts to come back after a lost connection, within one send; 0 turns it off. */
    public int $reconnect = 3;

    /** Seconds between the first of them, which is made at once, and the second; then doubled, up to 10. */
    public float $backoff = 0.5;

    /** Whether the server shall keep this client when its connection breaks, and what is sent to it meanwhile. */
    public bool $resume = false;

    /** Seconds in which a client that resumes comes back, in place of `reconnect` attempts. */
    public float $resume_within = 30.0;

    /**
     * @param array<string, mixed> $options
     * @throws ArgumentException
     */
    public function __construct(array $options)
    {
        foreach ($options as $name => $value) {
            if (!is_string($name) || !property_exists($this, $name)) {
                $known = implode(', ', array_keys(get_object_vars($this)));
                throw new ArgumentException("unknown option \"$name\"; there are: $known");
            }
            $this->take($name, $value);
        }
        if (!is_finite($this->timeout) || $this->timeout <= 0.0) {
            throw new ArgumentException('the option "timeout" must be more than 0 seconds');
        }
        foreach (['max_message', 'reconnect', 'backoff', 'resume_within'] as $name) {
            if (is_nan((float) $this->$name) || $this->$name < 0) {
                throw new ArgumentException("the option \"$name\" must not be negative");
            }
        }
    }

    /** @param mixed $value */
    private function take(string $name, $value): void
    {
        if (is_float($this->$name) && is_int($value)) {
            $value = (float) $value;
        }
        if (gettype($value) !== gettype($this->$name)) {
            $types = gettype($this->$name) . ', not ' . gettype($value);
            throw new ArgumentException("the option \"$name\" must be of type " . str_replace('double', 'float', $types));
        }
        $this->$name = $value;
    }
}
