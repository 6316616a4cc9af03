import tracelet_otel as tracelet

run = tracelet.start_logging(config={"export_interval": 3600})
for step in range(3000):
    run.log_metric("loss", step / 3, step)
