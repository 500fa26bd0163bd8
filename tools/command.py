"""What the measurements in this folder share."""
import shlex
import subprocess
import sys


def run(*args, report=False):
    """What a command prints, or reports on standard error; its failure ends the program."""
    r = subprocess.run([str(a) for a in args], capture_output=True, text=True)
    if r.returncode:
        sys.exit(f"{shlex.join(map(str, args))}: {r.stderr}")
    return r.stderr if report else r.stdout
