<?php

declare(strict_types=1);

namespace Phpws;

/**
 * Packets as JSON text and back.
 *
 * Strings stay strings ("007" and "1e3" are no numbers), 1.0 stays 1.0, and an integer too large
 * for PHP arrives as a string of its digits rather than as a rounded float.
 */
final class Json
{
    private const WRITE = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION;
    private const READ = JSON_BIGINT_AS_STRING | JSON_THROW_ON_ERROR;
    private const DEPTH = 512;

    /**
     * @param array<array-key, mixed> $packet
     * @throws ArgumentException if it holds what JSON cannot hold; bad UTF-8 is named with its place
     */
    public static function encode(array $packet): string
    {
        try {
            return json_encode((object) $packet, self::WRITE, self::DEPTH);
        } catch (\JsonException $e) {
            $place = $e->getCode() === JSON_ERROR_UTF8 ? self::badUtf8($packet) : '';
            throw new ArgumentException('the packet cannot be written as JSON: ' . $e->getMessage() . $place, 0, $e);
        }
    }

    /**
     * @return array<array-key, mixed>
     * @throws ProtocolException unless the text is one JSON object or array
     */
    public static function decode(string $text): array
    {
        try {
            $packet = json_decode($text, true, self::DEPTH, self::READ);
        } catch (\JsonException $e) {
            throw new ProtocolException('the server sent bad JSON: ' . $e->getMessage(), 1007);
        }
        if (!is_array($packet)) {
            throw new ProtocolException('the server sent JSON that is no object', 1007);
        }
        return $packet;
    }

    /** @param array<array-key, mixed> $values */
    private static function badUtf8(array $values, string $path = ''): string
    {
        foreach ($values as $key => $value) {
            if (is_string($key) && !self::isUtf8($key)) {
                return " (bad UTF-8 in the name of a key under \"$path\")";
            }
            $here = $path === '' ? (string) $key : "$path.$key";
            if (is_string($value) && !self::isUtf8($value)) {
                return " (bad UTF-8 in \"$here\")";
            }
            if (is_object($value) && !$value instanceof \JsonSerializable) {
                $value = get_object_vars($value);
            }
            $found = is_array($value) ? self::badUtf8($value, $here) : '';
            if ($found !== '') {
                return $found;
            }
        }
        return '';
    }

    private static function isUtf8(string $text): bool
    {
        return preg_match('//u', $text) === 1;
    }
}
