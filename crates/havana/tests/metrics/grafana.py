"""Reads a dashboard into the classes that are made from Grafana's schema, and writes it again: prints what is lost or changed."""

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def differences(ours, theirs, at):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from differences(value, theirs[key], f"{at}.{key}")
            else:
                yield f"{at}.{key}: unknown"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, pair in enumerate(zip(ours, theirs)):
            yield from differences(*pair, f"{at}[{index}]")
    elif ours != theirs:
        yield f"{at}: {ours!r} is read as {theirs!r}"


register_default_plugins()
with open(sys.argv[1], encoding="utf-8") as file:
    dashboard = json.load(file)
again = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))
for difference in differences(dashboard, again, ""):
    print(difference)
