from tracelet_otel.resource.detector import TraceletResourceDetector

print(TraceletResourceDetector().detect().attributes["tracelet.run.id"], flush=True)
