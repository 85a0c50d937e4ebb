"""What operators copy is true where a program can tell: metrics exist, files parse, and name settings that there are."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from noticesvc import config, metrics

DEPLOY = Path(__file__).resolve().parents[2] / "docs" / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))


def known_metrics():
    """The sample names that a scrape may hold."""
    found = set()
    for family in metrics.REGISTRY.collect():
        found |= {family.name, f"{family.name}_total", *(f"{family.name}_{end}" for end in ("bucket", "count", "sum"))}
    return found


def expressions():
    """Every PromQL expression of dashboard and alerts."""
    dashboard = json.loads((DEPLOY / "grafana.json").read_text("utf-8"))
    alerts = yaml.safe_load((DEPLOY / "alerts.yaml").read_text("utf-8"))
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]] + [
        rule["expr"] for group in alerts["groups"] for rule in group["rules"]]


def test_dashboard_and_alerts_name_metrics_that_there_are():
    """Each name in an expression is a metric of this program or of the process."""
    named = {name for one in expressions() for name in re.findall(r"\b(?:noticesvc|process)_[a-z_]+", one)}
    assert len(named) > 15
    assert named <= known_metrics()


def test_every_metric_is_on_the_dashboard_or_in_an_alert():
    """Nothing is counted that nobody looks at, but the time of the start."""
    shown = " ".join(expressions())
    ours = {family.name for family in metrics.REGISTRY.collect() if family.name.startswith("noticesvc_")}
    assert {name for name in ours if name not in shown} == {"noticesvc_started_timestamp_seconds"}


def test_the_compose_file_sets_settings_that_there_are():
    """NOTICESVC_SECTION__KEY variables in it are accepted by the configuration."""
    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    variables = {name: "/x" if name.endswith("DIR") else str(value) for service in composed["services"].values()
                 for name, value in service.get("environment", {}).items() if name.startswith("NOTICESVC_")}
    assert variables["NOTICESVC_SERVER__HOST"] == "0.0.0.0"
    variables["NOTICESVC_SERVER__PUBLIC_URL"] = "http://127.0.0.1:8080"
    assert config.build({}, variables, DEPLOY).worker.journal_dir == "/x"


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_leave_time_to_stop_and_restart_by_themselves(unit):
    """TimeoutStopSec is longer than the default grace; the process comes back after a kill; systemd, where it is, agrees."""
    text = unit.read_text("utf-8")
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[1]) > config.Worker().stop_grace_s
    assert "\nRestart=always\n" in text
    if shutil.which("systemd-analyze") and Path("/run/systemd/system").exists():
        subprocess.run(["systemd-analyze", "verify", str(unit)], check=True, capture_output=True)
