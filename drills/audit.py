"""Known vulnerabilities of what is installed: pip-audit over the versions that were tested together. Where the advisory
database can't be reached it says so, which is no failure: it is then not known."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SECONDS = 240
UNREACHABLE = ("ConnectionError", "ServiceError", "Failed to resolve", "HTTPError", "Max retries", "Connection refused")


def audited(folder: Path) -> list[dict[str, Any]] | None:
    """What pip-audit says of each package; None where it could ask nobody. Raises AssertionError where it fails
    otherwise."""
    report = folder / "audit.json"
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(ROOT / "constraints.txt"), "--no-deps"]
    command += ["--disable-pip", "--format", "json", "--output", str(report), "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return None
    if report.exists() and report.stat().st_size:
        return json.loads(report.read_text())["dependencies"]
    assert any(sign in done.stderr for sign in UNREACHABLE), done.stderr[-800:]
    return None


def run(folder: Path) -> str:
    found = audited(folder)
    if found is None:
        return "NOT KNOWN: the advisory database could not be reached from here; run it where there is a network"
    bad = {
        f"{package['name']} {package['version']}": [advisory["id"] for advisory in package["vulns"]]
        for package in found
        if package.get("vulns")
    }
    skipped = [package["name"] for package in found if "skip_reason" in package]
    if len(skipped) == len(found):
        return "NOT KNOWN: the package index that is reached from here knows of no advisories"
    assert not bad, f"known vulnerabilities: {bad}"
    return f"{len(found) - len(skipped)} packages without known vulnerabilities, {len(skipped)} unknown to the database"
