<?php

declare(strict_types=1);

namespace Phpws;

/** A request that is no notice of the server: not signed, wrongly signed, too old, or not whole. */
class NoticeException extends Exception
{
}
