"""What OpenAPI has no word for: a request names a room or a resource, not both, and an Idempotency-Key is for one request.

The fuzzer takes every combination of described parameters for a good one. That the server refuses these is
checked by tests/all/http_publish/.
"""

import itertools

import schemathesis

KEYS = itertools.count()


@schemathesis.hook
def filter_case(context, case):
    query = case.query or {}
    # The file counts characters of a key, and the server its bytes.
    key = str(query.get("key") or "")
    is_only_long_in_bytes = len(key) <= 128 < len(key.encode("utf-8", "replace"))
    return not {"room", "resource"} <= set(query) and not is_only_long_in_bytes


@schemathesis.hook
def before_call(context, case, kwargs):
    for headers in (case.headers, kwargs.get("headers")):
        for name in [name for name in headers or {} if name.lower() == "idempotency-key"]:
            key = headers[name]
            # A wrong key stays wrong.
            if 0 < len(key) <= 255 and all("!" <= character <= "~" and character not in '"\\' for character in key):
                headers[name] = f"{key[:200]}-{next(KEYS)}"
