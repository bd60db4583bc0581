"""What pytest must not import: locust replaces the standard library's sockets as it is imported."""

collect_ignore = ["serve_api/deploy/locustfile.py"]
