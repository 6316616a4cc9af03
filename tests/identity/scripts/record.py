import tracelet_otel as tracelet

with tracelet.start_logging("mine", "my project", "mlflow", config={"relay": False}) as run:
    run.log_metric("loss", 1, 1)
print(run.id)
