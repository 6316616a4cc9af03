from tracelet_otel.detector import TraceletResourceDetector

print(TraceletResourceDetector().detect().attributes["tracelet.run.id"], flush=True)
