"""Process B of the recorder: segments to detections. It may be slow and it may die."""
