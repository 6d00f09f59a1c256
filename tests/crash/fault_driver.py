"""Runs `interlock` commands, each in a process of its own that fails or dies at a chosen mutation.

One job a line on standard input, {"argv": [...], "at": n, "errno": e}, where errno 0 is SIGKILL and at 0 is no fault; one line
a job on standard output: {"code": exit code or minus the signal, "error": what was printed, "hit": what failed, "count": of
mutations}. Each job is a fork of this process, which has imported what the commands need: thousands of them take minutes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from recorded_os import Fault, installed

from interlock import cli


def run(job: dict[str, Any], report: str) -> int:
    """Run one job in this process."""
    fault = Fault(at=job["at"], errno=job["errno"])
    with open(report, "w", encoding="utf-8") as writer:
        os.dup2(writer.fileno(), 1)
        os.dup2(writer.fileno(), 2)
        with installed(fault):
            code = cli.main(job["argv"])
        sys.stdout.flush()
        sys.stderr.flush()
    with open(f"{report}.facts", "w", encoding="utf-8") as writer:
        json.dump({"hit": fault.hit, "count": fault.count}, writer)
    return code


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        report = os.path.join(directory, "report")
        for line in sys.stdin:
            job = json.loads(line)
            child = os.fork()
            if child == 0:
                code = 99
                try:
                    code = run(job, report)
                finally:
                    if code == 99:
                        import traceback

                        traceback.print_exc()
                        sys.stderr.flush()
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            facts: dict[str, Any] = {"hit": "", "count": 0}
            if os.path.exists(f"{report}.facts"):
                with open(f"{report}.facts", encoding="utf-8") as reader:
                    facts = json.load(reader)
                os.unlink(f"{report}.facts")
            with open(report, encoding="utf-8", errors="replace") as reader:
                text = reader.read()
            answer = {"code": os.waitstatus_to_exitcode(status), "error": text, **facts}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
