"""Resolves a requirements.in into the requirements.txt beside it: every package with version and sha256.

Run it by hand with the interpreter that the zoo is to use (Debian 12's, CPython 3.11 on
amd64) when a pin changes: `python3 zoo/lock.py [FOLDER]`, of zoo/ or of zoo/verify.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ALONE = "[no dependencies]"  # marks a package of which only data files are used


def resolve(lines: list[str], *options: str) -> dict[str, str]:
    """What pip would install for the requirements: "name==version" to sha256."""
    if not lines:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        wanted, report = Path(folder, "wanted.txt"), Path(folder, "report.json")
        wanted.write_text("\n".join(lines))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--only-binary=:all:", "--report", str(report), "-r", str(wanted), *options]
        subprocess.run(command, check=True)
        installs = json.loads(report.read_text())["install"]
    sums = [i["download_info"]["archive_info"]["hashes"]["sha256"] for i in installs]
    packages = [f"{i['metadata']['name'].lower()}=={i['metadata']['version']}" for i in installs]
    return dict(zip(packages, sums, strict=True))


def main() -> None:
    folder = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else HERE
    lines = (folder / "requirements.in").read_text().splitlines()
    alone = [line for line in lines if ALONE in line]
    found = resolve([line for line in lines if line not in alone]) | resolve(alone, "--no-deps")
    out = ["# Made by zoo/lock.py from requirements.in, for CPython 3.11 on amd64; to be installed with --no-deps."]
    out += [f"{package} --hash=sha256:{found[package]}" for package in sorted(found)]
    (folder / "requirements.txt").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
