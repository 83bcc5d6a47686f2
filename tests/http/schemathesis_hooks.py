"""What OpenAPI has no word for: a request names a room or a resource, not both.

The fuzzer takes every combination of described parameters for a good one. That the server refuses this one is
checked by tests/all/http_publish/.
"""

import schemathesis


@schemathesis.hook
def filter_case(context, case):
    return not {"room", "resource"} <= set(case.query or {})
