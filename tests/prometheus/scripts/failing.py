import tracelet_otel as tracelet

tracelet.start_logging("bad", "digits", "otlp").stop("failed")
