"""Rows under somebody's own SDK, which ends at exit with most of them still queued."""

import lightning.pytorch as pl
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from tracelet_otel.instrumentation.lightning import LightningInstrumentor
from tracelet_otel.zero_code import exporters

metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(exporters.mlflow(), 1000)]))
LightningInstrumentor().instrument()
trainer = pl.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
for step in range(20_000):
    trainer._logger_connector.log_metrics({"loss": step / 3}, step=step)
