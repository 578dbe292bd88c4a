#!/usr/bin/python3
"""Turns the reports of ctest and bats into lines `status<TAB>name<TAB>reason`, and sums such files up.

usage: report.py junit LANE FILE.xml
       report.py tap PREFIX EXIT-STATUS FILE.tap
       report.py line TITLE FILE.tap
       report.py summary FILE…      (paths without their .tsv)
"""

import re
import sys
import xml.etree.ElementTree as ElementTree


def flat(text):
    return " ".join((text or "").split())


def gtest_skip_reason(output):
    """GTEST_SKIP() << reason is printed after the line `file:line: Skipped`."""
    match = re.search(r": Skipped\s*\n(.*?)\n\s*\n?\[", output or "", re.S)
    return flat(match.group(1)) if match else ""


def junit(lane, path):
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{lane}: {case.get('name')}"
        if case.get("status") == "disabled":  # not a test of its own: another test runs it
            continue
        status, reason = "passed", ""
        output = case.findtext("system-out") or ""
        if case.find("skipped") is not None:
            status, reason = "skipped", gtest_skip_reason(output) or flat(case.find("skipped").get("message"))
        elif case.find("failure") is not None or case.get("status") not in ("run", None):
            failed = case.find("failure")
            reason = flat(failed.get("message") if failed is not None else case.get("status"))
            status = "failed"
            sys.stderr.write(f"--- {name}\n{output.rstrip()}\n")
        yield status, name, reason


TAP = re.compile(r"^(ok|not ok) (\d+) (.*?)(?: # (skip|timeout)\b ?(.*))?$")


def tap_cases(path):
    """The cases of a TAP file, each with the comment lines that follow it, and how many it planned."""
    planned, cases = None, []
    for line in open(path, errors="replace"):
        line = line.rstrip("\n")
        plan = re.match(r"^1\.\.(\d+)$", line)
        case = TAP.match(line)
        if plan:
            planned = int(plan.group(1))
        elif case:
            verdict, _, name, directive, why = case.groups()
            status = "failed" if verdict == "not ok" else "skipped" if directive == "skip" else "passed"
            reason = (why or "") if status == "skipped" else "timed out" if directive else ""
            cases.append([status, name, reason, []])
        elif cases:
            cases[-1][3].append(line)
    return planned, cases


def tap(prefix, exit_status, path):
    planned, cases = tap_cases(path)
    for status, name, reason, comments in cases:
        if status == "failed":
            sys.stderr.write(f"--- {prefix}: {name}\n" + "\n".join(comments) + "\n")
        yield status, f"{prefix}: {name}", reason
    if planned is None or len(cases) < planned or (int(exit_status) and not any(c[0] == "failed" for c in cases)):
        if not cases:
            sys.stderr.write(open(path, errors="replace").read())
        yield "failed", f"{prefix}: the whole file", (
            f"bats ended with status {exit_status} after {len(cases)} of {planned} tests, see {path}")


def print_line(title, path):
    _, cases = tap_cases(path)
    count = {status: sum(c[0] == status for c in cases) for status in ("passed", "failed", "skipped")}
    print(f"    {title}: " + ", ".join(f"{n} {status}" for status, n in count.items() if n))


def summary(paths):
    cases = [line.rstrip("\n").split("\t") for path in paths for line in open(path + ".tsv")]
    skipped = [c for c in cases if c[0] == "skipped"]
    failed = [c for c in cases if c[0] == "failed"]
    by_reason = {}
    for _, name, reason in skipped:
        by_reason.setdefault(reason or "no reason given", []).append(name)
    for reason, names in sorted(by_reason.items()):
        print(f"skipped: {reason}")
        for name in names:
            print(f"    {name}")
    for _, name, reason in failed:
        print(f"FAILED: {name}" + (f" ({reason})" if reason else ""))
    print(f"{len(cases) - len(skipped) - len(failed)} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed or not cases else 0


def main(arguments):
    verb, rest = arguments[0], arguments[1:]
    if verb == "summary":
        return summary(rest)
    if verb == "line":
        print_line(*rest)
        return 0
    for status, name, reason in {"junit": junit, "tap": tap}[verb](*rest):
        print(status, flat(name), flat(reason), sep="\t")
    return 0


sys.exit(main(sys.argv[1:]))
