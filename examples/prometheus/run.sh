#!/usr/bin/env bash
# From nothing to a query: a collector and Prometheus are started, a training sends to them, and Prometheus is asked for
# the training's loss.
#
#     examples/prometheus/run.sh
#
# It needs otelcol, prometheus and promtool on PATH: the stock programs, as their projects release them. Data and logs go to
# ./prometheus-data. For dashboards, alerts and many nodes, take collector-config/ of this repository instead.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
export OTLP_PORT=${OTLP_PORT:-4317} PROMETHEUS_PORT=${PROMETHEUS_PORT:-9090}
prometheus=http://127.0.0.1:$PROMETHEUS_PORT

mkdir -p prometheus-data
trap 'kill $(jobs -p); wait' EXIT
prometheus --config.file="$here/prometheus.yaml" --storage.tsdb.path=prometheus-data \
  --web.listen-address="127.0.0.1:$PROMETHEUS_PORT" --web.enable-otlp-receiver >prometheus-data/prometheus.log 2>&1 &
started=$!
otelcol --config "$here/collector.yaml" >prometheus-data/collector.log 2>&1 &
until promtool check ready --url="$prometheus" >/dev/null 2>&1; do
  kill -0 "$started"  # it has ended: its log says why
  sleep 0.2
done

OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$OTLP_PORT python "$here/train.py"

echo "Prometheus has:"
promtool query instant "$prometheus" '{tracelet_metric_name="train/loss"}'
