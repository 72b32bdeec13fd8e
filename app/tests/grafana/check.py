"""Checks that a Grafana dashboard asks for metrics and labels that there are.

Usage: check.py DASHBOARD < what /metrics says. Every query must be valid PromQL; every metric must be there with the labels
that are selected or grouped by. Prints what is wrong, and ends with 1 then.
"""

import json
import re
import sys

import promql_parser

# What Prometheus adds itself.
ADDED = {"instance", "job", "__name__"}


def known(text):
    """The labels of each metric."""
    found = {}
    for line in text.splitlines():
        sample = re.match(r"([a-z_]+)(?:\{(.*)\})? ", line)
        if sample and not line.startswith("#"):
            labels = set(re.findall(r'(\w+)="', sample[2] or ""))
            found.setdefault(sample[1], set()).update(labels)
    return found


def asked(expression):
    """The metrics of a query with the labels that it selects or groups by."""
    query = expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
    metrics, labels = set(), set()

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            metrics.add(node.name)
            labels.update(matcher.name for matcher in node.matchers.matchers)
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            labels.update(node.modifier.labels)
        return True

    promql_parser.walk(promql_parser.parse(query), visit)
    return metrics, labels


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        dashboard = json.load(file)
    metrics = known(sys.stdin.read())
    wrong, count = [], 0
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            count += 1
            names, labels = asked(target["expr"])
            if not names:
                wrong.append(f"{panel['title']}: asks for no metric")
            for name in names:
                missing = labels - metrics.get(name, set()) - ADDED
                if name not in metrics:
                    wrong.append(f"{panel['title']}: there is no metric {name}")
                elif missing:
                    wrong.append(f"{panel['title']}: {name} has no label {', '.join(sorted(missing))}")
    for line in wrong:
        print(line)
    print(f"{count} queries")
    sys.exit(1 if wrong or count == 0 else 0)


main()
