#!/usr/bin/env python3
"""Judges the reports that `run` left behind.

    tests/conformance/check.py [--update] DIRECTORY

Every case must have run, must be OK, and must be as golden.json has it. The suite is laxer than
this in three points, which are the three tables below.
"""

import json
import sys
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent / "golden.json"
AGENT = "phpws"

# The families of cases and how many each has: framing, pings, reserved bits, opcodes, fragments,
# UTF-8, closing, limits, automatic fragments.
FAMILIES = {1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1}
# permessage-deflate, which the server declines; the suite then ends the case and calls it
# UNIMPLEMENTED. That happens in the handshake, so once, over ws, is enough.
COMPRESSION = {12: 90, 13: 126}
SUITES = {"ws": FAMILIES | COMPRESSION, "wss": FAMILIES}

# The suite sets these to INFORMATIONAL whatever the server does, so they are judged by the code of
# its close frame. 7.1.6 sends 256 KiB, a close with 1000 and a ping at once. 7.13.1 and 7.13.2 close
# with 5000 and 65535, codes that nobody may send.
INFORMATIONAL = {"7.1.6": 1000, "7.13.1": 1002, "7.13.2": 1002}
# The suite is content with a close without a code, or, after a violation, with no close at all.
# Here only this case has none: it closes without one and has that answered.
CLOSES_WITHOUT_CODE = {"7.3.1"}


def main(args):
    update = args[:1] == ["--update"]
    if len(args) != 1 + update:
        sys.exit("usage: check.py [--update] DIRECTORY")
    out = Path(args[-1])
    cases = {scheme: read(out, scheme) for scheme in SUITES}
    measured = {scheme: {case: behavior(report) for case, report in cases[scheme].items()} for scheme in SUITES}
    complaints = [complaint for scheme in SUITES for complaint in judge(scheme, cases[scheme])]
    if update and not complaints:
        write_golden(measured)
    elif not update:
        complaints += differences(json.loads(GOLDEN.read_text()), measured)
    return summary(out, measured, complaints)


def read(out, scheme):
    """The cases that ran, in their order, with what the suite says of each."""
    try:
        index = json.loads((out / scheme / "index.json").read_text())
    except FileNotFoundError:
        return {}
    return dict(sorted(index.get(AGENT, {}).items(), key=lambda item: [int(part) for part in item[0].split(".")]))


def behavior(report):
    return [report["behavior"], report["behaviorClose"]]


def judge(scheme, cases):
    """A complaint is a scheme, a case or a family, and what is wrong with it."""
    for family, expected in SUITES[scheme].items():
        count = sum(family_of(case) == family for case in cases)
        if count != expected:
            yield scheme, f"{family}.*", f"{count} cases ran in place of {expected}"
    for case, report in cases.items():
        wrong = wrong_behavior(case, behavior(report)) or wrong_code(case, report["remoteCloseCode"])
        if wrong:
            yield scheme, case, wrong


def wrong_behavior(case, measured):
    if measured == ["OK", "OK"]:
        return None
    if measured == ["INFORMATIONAL", "INFORMATIONAL"] and case in INFORMATIONAL:
        return None
    if measured == ["UNIMPLEMENTED", "OK"] and family_of(case) in COMPRESSION:
        return None
    return "{}, and {} in closing".format(*measured)


def wrong_code(case, code):
    if case in CLOSES_WITHOUT_CODE:
        return None if code is None else f"closed with {code} in place of no code"
    if code is None:
        return "no close frame, or one without a code"
    if code != INFORMATIONAL.get(case, code):
        return f"closed with {code} in place of {INFORMATIONAL[case]}"
    return None


def family_of(case):
    return int(case.split(".")[0])


def differences(golden, measured):
    for scheme in SUITES:
        expected = golden.get(scheme, {})
        for case in expected | measured[scheme]:
            was, now = expected.get(case, "nothing"), measured[scheme].get(case, "nothing")
            if was != now:
                yield scheme, case, f"golden.json has {was}, measured was {now}"


def write_golden(measured):
    """One case a line, so that a change shows as one."""
    schemes = []
    for scheme, cases in measured.items():
        lines = ",\n".join(f"    {json.dumps(case)}: {json.dumps(outcome)}" for case, outcome in cases.items())
        schemes.append(f"  {json.dumps(scheme)}: {{\n{lines}\n  }}")
    GOLDEN.write_text("{\n" + ",\n".join(schemes) + "\n}\n")


def summary(out, measured, complaints):
    for scheme, case, wrong in complaints:
        print(f"{scheme} {case}: {wrong}")
    for scheme, cases in measured.items():
        kinds = [" / ".join(outcome) for outcome in cases.values()]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        print(f"{scheme}: {counts or 'no case ran'}")
    failed = {(scheme, case) for scheme, case, _ in complaints}
    skipped = {
        (scheme, case)
        for scheme, cases in measured.items() for case, outcome in cases.items() if "UNIMPLEMENTED" in outcome
    } - failed
    passed = sum(map(len, measured.values())) - len(skipped) - sum(case in measured[scheme] for scheme, case in failed)
    if failed:
        print(f"every case in detail: {out}/ws/index.html and {out}/wss/index.html")
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
