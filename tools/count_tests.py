#!/usr/bin/env python3
"""Counts the test cases of meson's testlog.json, one or several: lines of TAP where a program printed them, otherwise
the program itself. The last line is "N passed, N failed[, N skipped]"; exit code 1 when a test failed,
a program ended badly after its last result, a log is missing, or nothing ran."""
import json
import os
import re
import sys

CASE = re.compile(r"^(not )?ok +\d+ *(?:- )?(.*)$", re.MULTILINE)
GOOD = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}


def cases(run):
    """Yields (state, name) for each case of one program."""
    found = [("skipped" if "# skip" in name.lower() else "failed" if bad else "passed", name)
             for bad, name in CASE.findall(run.get("stdout") or "")]
    yield from found
    state = GOOD.get(run["result"], "failed")
    if not found or (state == "failed" and not any(s == "failed" for s, _ in found)):
        yield state, run["result"].lower()


def selftest():
    def states(stdout, result):
        return [s for s, _ in cases({"stdout": stdout, "result": result})]
    return (states("1..2\nok 1 - a\nnot ok 2 - b\n", "FAIL") == ["passed", "failed"]
            and states("1..2\nok 1 - a\n", "ERROR") == ["passed", "failed"]
            and states("ok 1 - a\nnot ok 2 # SKIP b\n", "OK") == ["passed", "skipped"]
            and states("mel 1e-7 ok\n", "OK") == ["passed"] and states("", "EXPECTEDFAIL") == ["passed"]
            and states("", "TIMEOUT") == ["failed"] and states("", "UNEXPECTEDPASS") == ["failed"]
            and states("", "SKIP") == ["skipped"])


if not selftest():
    sys.exit("count_tests: the rules do not count as they should")
if sys.argv[1:] == ["--selftest"]:
    sys.exit(0)
count = {"passed": 0, "failed": 0, "skipped": 0}
for path in sys.argv[1:]:
    if not os.path.exists(path):
        count["failed"] += 1
        print(f"failed: no {path}")
        continue
    with open(path, encoding="utf-8") as log:
        for run in map(json.loads, log):
            for state, name in cases(run):
                count[state] += 1
                if state != "passed":
                    print(f"{state}: {run['name']}: {name}")
print("{passed} passed, {failed} failed".format(**count)
      + (f", {count['skipped']} skipped" if count["skipped"] else ""))
sys.exit(1 if count["failed"] or not count["passed"] else 0)
