<?php

declare(strict_types=1);

namespace Phpws;

/**
 * The connection was lost, and the client could not come back within the option `resume_within`. The
 * previous exception says what the last try met.
 */
final class ResumeException extends Exception
{
}
