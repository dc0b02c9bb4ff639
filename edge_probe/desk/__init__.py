"""What is done with a deployment at the desk: archives, results, reports."""
