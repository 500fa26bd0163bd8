#!/usr/bin/env python3
"""Counts the test cases of a meson junit log; prints "N passed, N failed[, N skipped]" as the last line.
Exit code 1 when a test failed or none ran."""
import sys
import xml.etree.ElementTree as xml

passed = failed = skipped = 0
for suite in xml.parse(sys.argv[1]).getroot().iter("testsuite"):
    cases = list(suite.iter("testcase"))
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            print("failed:", suite.get("name"), case.get("name"))
        elif case.find("skipped") is not None:
            skipped += 1
            print("skipped:", suite.get("name"), case.get("name"))
        else:
            passed += 1
    if not cases:  # the program ended before its first result
        failed += 1
        print("failed:", suite.get("name"), "gave no result")
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(1 if failed or not passed else 0)
